"""Settings of a user's environment and of PyTorch under which a real GPU is timed as without them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.gpu

TEST = """
import pytest
import torch
import torch.nn.functional as F
from pytest_kgate import Problem

SOFTMAX = Problem(
    name="softmax",
    inputs=lambda g: (torch.randn(1024, 1024, generator=g, device=g.device),),
    reference=lambda x: torch.softmax(x, -1),
    exact=lambda x: torch.softmax(x.double(), -1),
)

def draw(g):
    extents = (16, 64, 56, 56), (64, 64, 3, 3)
    return tuple(torch.randn(*one, generator=g, device=g.device).half() for one in extents)

CONVOLUTION = Problem(
    name="convolution",
    inputs=draw,
    reference=lambda x, w: F.conv2d(x, w, padding=1),
    exact=lambda x, w: F.conv2d(x.double(), w.double(), padding=1),
)

@pytest.mark.speedup(2.0)
@pytest.mark.parametrize("timer", ["graph", "queue"])
def test_softmax(kbench, timer):
    kbench(lambda x: torch.softmax(x, -1), SOFTMAX, timer=timer)

@pytest.mark.speedup(2.0)
@pytest.mark.parametrize("cache", ["hot", "cold"])
def test_convolution(kbench, cache):
    torch.backends.cudnn.benchmark = True  # algorithms are tried at the first call of a shape, and none in a capture
    kbench(lambda x, w: F.conv2d(x, w, padding=1), CONVOLUTION, cache=cache)
"""


@pytest.fixture
def judged(tmp_path):
    """Records of such tests in a process of their own, with these variables set before CUDA starts."""

    def run(test, **variables):
        (tmp_path / "test_it.py").write_text(TEST)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", test]
        command += ["--kgate-device=cuda", "--kgate-json=records.json", "--kgate-foreign-load=warn"]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((tmp_path / "records.json").read_text())["records"]

    return run


def test_streams_that_share_one_queue_are_timed_as_others(judged):
    records = judged("softmax", CUDA_DEVICE_MAX_CONNECTIONS="1")
    assert [(one["verdict"], one["timing"]["timer"]) for one in records] == [("PASS", "graph"), ("PASS", "queue")]


def test_gpu_that_is_made_visible_by_its_name_is_the_one_of_the_record(judged):
    import torch

    mine = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    records = judged("softmax and graph", CUDA_VISIBLE_DEVICES=mine)
    assert [(one["verdict"], one["environment"]["gpu"]["uuid"]) for one in records] == [("PASS", mine)]


def test_convolution_that_tries_its_algorithms_passes_hot_and_cold(judged):
    records = judged("convolution")
    assert [(one["verdict"], one["timing"]["cache"]) for one in records] == [("PASS", "hot"), ("PASS", "cold")]

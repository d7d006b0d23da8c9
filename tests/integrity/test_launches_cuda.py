"""What a call launches on a real GPU: seen by name, alike alone and in a graph."""

from __future__ import annotations

import functools
from collections import Counter

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.integrity.launches.observed import observe

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


def test_kernels_of_a_call_are_seen_by_name(device):
    x = torch.randn(4096, device="cuda")
    with device.running("testing"):
        seen = observe(device, lambda: torch.relu(x))
        nothing = observe(device, lambda: None)
    assert seen.works
    assert seen.work == 1
    assert seen.library(["mine"])[1] == "PyTorch's operators"
    assert not nothing.works


def test_sdpa_is_known_as_a_librarys(device):
    q = torch.randn(1, 8, 512, 64, device="cuda", dtype=torch.float16)
    with device.running("testing"):
        seen = observe(device, lambda: F.scaled_dot_product_attention(q, q, q))
    assert seen.library(["mine"]) is not None, dict(seen.first)


def test_calls_in_a_graph_launch_what_they_launch_alone(device):
    x = torch.randn(4096, device="cuda")
    calls = 0

    def skips():
        nonlocal calls
        calls = calls + 1 if torch.cuda.is_current_stream_capturing() else 0
        if calls < 2:
            torch.relu(x)

    with device.running("testing"):
        for call, complaint in ((lambda: torch.relu(x), False), (skips, True)):
            assert bool(observe(device, call, graph=True).missing_in_graph) is complaint


@pytest.mark.parametrize("which", ["relu", "sdpa", "mma", "cublas", "several"])
def test_graphs_list_what_the_profiler_sees(device, which):
    q = torch.randn(1, 8, 512, 64, device="cuda", dtype=torch.float16)
    calls = {
        "relu": lambda: torch.relu(q),
        "sdpa": lambda: F.scaled_dot_product_attention(q, q, q),
        "several": lambda: torch.nn.functional.gelu(q.float()).half(),
    }
    call = calls.get(which) or functools.partial(load_kernel(which), q, q, q)
    with device.running("testing"):
        call()
        listed = observe(device, call, graph=True)
        profiled = observe(device, call)
    assert listed.together is not None
    assert profiled.together is None
    assert listed.missing_in_graph is None

    def short(found):
        names = Counter()
        for name, count in found.items():
            names[name.partition("<")[0].partition("(")[0].strip()] += count
        return names

    assert short(listed.first) == short(listed.second) == short(profiled.first), (listed, profiled)
    assert (listed.library(["mine"]) or "")[1:] == (profiled.library(["mine"]) or "")[1:]


def test_a_candidate_that_launches_the_mark_between_calls_hides_nothing(device):
    x = torch.randn(4096, device="cuda")

    def call():
        device.instruments.null(device.stream)
        torch.relu(x)

    with device.running("testing"):
        seen = observe(device, call)
    assert seen.library(["mine"])[1] == "PyTorch's operators"
    assert seen.first == seen.second

"""`evaluate` and `kgate evaluate` on a GPU: faults and hangs there end in an answer, and the next call has a device."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from record_schema import demand_valid_evaluation

from pytest_kgate import Problem
from pytest_kgate import evaluate

pytestmark = pytest.mark.gpu

JUDGE = """
import pytest
from pytest_kgate import Shape

@pytest.mark.perf(budget=2)
@pytest.mark.speedup(1000.0)
def test_it(kbench, kernels, sdpa_oracle):
    kbench(kernels("wmma"), sdpa_oracle(Shape(1, 2, 64, 64)))
"""

KERNEL = """
#include "sdpa.h"
__global__ void kernel(kgate::SdpaArgs args) {{
    {body}
}}
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {{
    kernel<<<1, 32, 0, (cudaStream_t)stream>>>(*args);
    return -(int)cudaGetLastError();
}}
KGATE_EXPORT const char* kgate_message() {{ return "The launch failed."; }}
"""

BODIES = {
    "faults": "*(volatile int*)8 = 1;",
    "endless": 'while (true) asm volatile("nanosleep.u32 1000;");',
    "idle": "",
    "broken": "return nothing;",
}

MATMUL = Problem(
    "matmul 512",
    lambda g: tuple(torch.randn(512, 512, generator=g, device=g.device) for _ in range(2)),
    torch.matmul,
    lambda x, y: torch.matmul(x.double(), y.double()),
)


@pytest.mark.parametrize(
    ("name", "more", "verdict", "stage", "status"),
    [
        ("faults", (), "ERROR", "check", 1),
        ("endless", ("--pytest=--kgate-timeout=5",), "ERROR", "check", 1),
        ("idle", (), "WRONG", "check", 1),
        ("broken", (), "ERROR", "build", 1),
        ("idle", ("--until", "build"), "MEASURED", "build", 0),
        ("faults", ("--isolate",), "ERROR", "check", 1),
    ],
)
def test_kernel_is_answered_for(tmp_path, name, more, verdict, stage, status):
    (tmp_path / "test_it.py").write_text(JUDGE)
    (tmp_path / f"{name}.cu").write_text(KERNEL.format(body=BODIES[name]))
    command = [sys.executable, "-m", "pytest_kgate.cli", "evaluate", f"{name}.cu", "--test", "test_it.py::test_it"]
    (tmp_path / "tmp").mkdir()
    places = {"cwd": tmp_path, "env": {**os.environ, "TMPDIR": str(tmp_path / "tmp")}}
    done = subprocess.run([*command, "--json", "-", *more], capture_output=True, text=True, check=False, **places)
    answer = json.loads(done.stdout)
    demand_valid_evaluation(answer)
    assert (done.returncode, answer["verdict"], answer["stage"]) == (status, verdict, stage), answer["feedback"]
    assert done.stderr == ""
    assert "Traceback (most" not in answer["feedback"]
    assert running_in(tmp_path) == []
    assert os.listdir(tmp_path / "tmp") == []
    if verdict in ("WRONG", "MEASURED"):
        assert answer["resources"][0]["registers"] > 0


def running_in(folder):
    """Processes that work in a folder, as all do that a command started there has left."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it has ended, is another user's, or is no process
            if entry.name.isdigit() and (entry / "cwd").resolve(strict=True) == folder.resolve():
                found.append((entry / "cmdline").read_bytes())
    return found


def test_processes_that_a_command_has_left_are_seen(tmp_path):
    left = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    try:
        assert len(running_in(tmp_path)) == 1
    finally:
        left.kill()
        left.wait()
    assert running_in(tmp_path) == []


def test_threads_are_judged_on_the_gpu_one_after_the_other():
    records = []

    def judged():
        records.append(evaluate(lambda x, y: x @ y, MATMUL, 1.5, budget=2))

    threads = [threading.Thread(target=judged) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record["verdict"] for record in records] == ["PASS", "PASS"]
    assert {record["environment"]["device"] for record in records} == {"cuda"}

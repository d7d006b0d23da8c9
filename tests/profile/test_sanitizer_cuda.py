"""The real compute-sanitizer: the shipped kernels are clean under all four tools, planted faults are found.

Starting Python under a tool takes most of the time, so all shipped kernels share one process a tool.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fault_cases import FAULTS
from shipped_cases import CUDA
from shipped_cases import SHAPES

from pytest_kgate.build import vendor_libraries
from pytest_kgate.build.kernel import prepare
from pytest_kgate.build.registry import find_source
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.profile.sanitizer.asked import Sanitize
from pytest_kgate.profile.sanitizer.run import Examined
from pytest_kgate.profile.sanitizer.run import ToolRun
from pytest_kgate.profile.sanitizer.run import examine
from pytest_kgate.profile.sanitizer.tools import PROGRAM
from pytest_kgate.profile.sanitizer.tools import TOOLS
from pytest_kgate.profile.under_tool.program import find_program
from pytest_kgate.profile.under_tool.session import ToolSession

pytestmark = pytest.mark.gpu(alone=False)

HERE = Path(__file__).parent
FOUND_BY = {
    "out_of_bounds": ("memcheck", "writes_past_the_end"),
    "race": ("racecheck", "reads_too_early"),
    "uninitialised": ("initcheck", "adds_to_what_is_there"),
    "barrier": ("synccheck", "half_a_warp_waits"),
}


@pytest.fixture(scope="module")
def tool_run() -> ToolRun:
    """Everything is built here first: a compiler that runs under the tool is slow."""
    program = find_program(PROGRAM)
    if program is None:
        pytest.skip("compute-sanitizer is not installed")
    faults = [(HERE / "faults" / f"{fault}.cu", {}) for fault in FAULTS]
    built = prepare([*((name, {}) for name in CUDA), *faults]) + prepare(
        [(HERE / "faults" / "asserts.cu", {})], debug=True
    )
    broken = [one for one in built if isinstance(one, Exception)]
    if broken:
        raise broken[0]
    return ToolRun(program, Sanitize(), ToolSession(HERE, ("-m", "", "-k", ""), timeout_seconds=500.0))


def lacks_a_library(name: str) -> bool:
    try:
        vendor_libraries.need(find_source(name).libraries, name)
    except LibraryMissing:
        return True
    return False


def only(outcomes: list[Examined]) -> Examined:
    (outcome,) = outcomes
    if outcome.verdict == "SKIP":
        pytest.skip(outcome.reason)
    return outcome


@pytest.mark.parametrize("tool", TOOLS)
def test_the_shipped_kernels_are_clean(tool: str, tool_run: ToolRun) -> None:
    # Not the kernels of the libraries that some of them call.
    own = replace(tool_run, wanted=Sanitize((tool,), kernels="kgate"))
    outcomes = examine(tool, [str(HERE / "shipped_cases.py")], own)
    assert len(outcomes) == len(CUDA) * len(SHAPES)
    lacking = [name for name in CUDA if lacks_a_library(name)]
    here = [one for one in outcomes if not any(name in one.test for name in lacking)]
    unusable = [one.reason for one in here if one.verdict == "SKIP"]
    if unusable:
        pytest.skip(unusable[0])
    assert {one.test: one.reason for one in here if one.verdict != "PASS"} == {}
    assert all(one.launched for one in here)


@pytest.mark.parametrize("fault", FOUND_BY)
def test_a_planted_fault_is_found_at_its_line(fault: str, tool_run: ToolRun) -> None:
    tool, kernel = FOUND_BY[fault]
    outcome = only(examine(tool, [f"{HERE / 'fault_cases.py'}::test_fault[{fault}]"], tool_run))
    source = (HERE / "faults" / f"{fault}.cu").read_text().splitlines()
    lines = {number for number, text in enumerate(source, start=1) if "// FAULT" in text}
    assert outcome.verdict == "FAIL", outcome.reason
    first = outcome.report.first
    assert first is not None
    assert kernel in (first.kernel or ""), outcome.reason
    places = {(frame.place.partition(":")[0], frame.line) for frame in first.frames}
    assert places & {(f"{fault}.cu", line) for line in lines}, outcome.reason
    assert outcome.report.errors >= 1
    if tool == "racecheck":
        assert {frame.line for _, frame in first.others} & lines
    else:
        assert first.thread is not None
        assert first.block is not None


def test_an_output_that_is_not_written_whole_is_found(tool_run: ToolRun) -> None:
    outcome = only(examine("initcheck", [f"{HERE / 'fault_cases.py'}::test_fault[unwritten]"], tool_run))
    assert outcome.verdict == "FAIL", outcome.reason


def test_a_failed_device_assert_is_the_finding(tool_run: ToolRun) -> None:
    outcome = only(examine("synccheck", [f"{HERE / 'fault_cases.py'}::test_assert"], tool_run))
    assert outcome.verdict == "FAIL", outcome.reason
    assert "elements < 0" in outcome.reason
    assert re.search(r"asserts\.cu:\d+", outcome.reason)


def pytest_alone(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """A session of its own: a failed assert takes the process's CUDA context."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", *arguments]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300, check=False)


def test_a_failed_device_assert_reads_as_one_without_the_tool(tool_run: ToolRun) -> None:
    done = pytest_alone(["fault_cases.py::test_assert"])
    text = " ".join(done.stdout.split())
    assert done.returncode == 1
    assert "A device assert failed while" in text, done.stdout
    assert "Assertion `elements < 0` failed" in text + done.stderr  # at the latest when the context is given up


@pytest.mark.parametrize("impl", ["custom_v3", "wmma"])
def test_a_debug_build_notices_a_row_sum_that_is_no_number(impl: str, tool_run: ToolRun) -> None:
    done = pytest_alone([f"fault_cases.py::test_not_a_number[{impl}]"])
    assert done.returncode == 1
    assert re.search(rf"{impl}\.cu:\d+: .*Assertion `isfinite\(", done.stdout), done.stdout


MARKED = """
import pytest
from pytest_kgate import Shape

@pytest.mark.sanitize("memcheck")
@pytest.mark.allclose(2e-3)
def test_marked(kbench, sdpa_oracle, kernels):
    kbench(kernels(KERNEL), sdpa_oracle(Shape(1, 8, 512, 64)), budget=0.5)
"""


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["wmma", "out_of_bounds"])
def test_the_marker_lets_a_clean_kernel_race_and_stops_a_faulty_one(
    kernel: str, tool_run: ToolRun, tmp_path: Path
) -> None:
    from pytest_kgate.report.record.document import load

    source = kernel if kernel == "wmma" else str(HERE / "faults" / "out_of_bounds.cu")
    (tmp_path / "test_marked.py").write_text(MARKED.replace("KERNEL", repr(source)))
    done = pytest_alone([str(tmp_path / "test_marked.py"), f"--kgate-json={tmp_path / 'records.json'}", "-rs"])
    if "does not work on this machine" in done.stdout:
        pytest.skip("compute-sanitizer does not work on this machine")
    (record,) = load(tmp_path / "records.json")
    (run,) = record["sanitizer"]["runs"]
    assert run["launched"] == [{"candidate": kernel, "problem": "sdpa 1x2x256x64 float16"}]
    if kernel == "wmma":
        assert done.returncode == 0, done.stdout
        assert record["timing"] is not None
    else:
        assert done.returncode == 1
        assert "memcheck: Invalid __global__ write of size 2 bytes at out_of_bounds.cu" in " ".join(done.stdout.split())
        assert record["timing"] is None

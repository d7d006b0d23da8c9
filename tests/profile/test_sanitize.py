"""What users of the marker and of `kgate sanitize` see, with a stand-in for compute-sanitizer on PATH."""

from __future__ import annotations

import json
import os
import sys
import textwrap

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench
import pytest_kgate.profile.sanitizer
import pytest_kgate.report.failure
import pytest_kgate.report.terminal  # noqa: F401
from pytest_kgate import Shape
from pytest_kgate.cli import main
from pytest_kgate.profile import tools
from pytest_kgate.report.record import json_schema
from pytest_kgate.report.record import load
from pytest_kgate.sdpa import sdpa_problem

jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")

DEVICE = """
import pytest
from pytest_kgate.device.fake import FakeDevice
from pytest_kgate.device.noise import White

class Device(FakeDevice):
    kind = "cuda"

@pytest.fixture(scope="session")
def kgate_device():
    return Device({"candidate": 0.8e-5, "reference": 1e-5}, noise=White(0.01))
"""

PRELUDE = """
import os, time
import pytest
import torch
from pytest_kgate import Problem, Shape

def relu(rows, small=None):
    return Problem(
        name=f"relu {rows}x64",
        inputs=lambda g: (torch.randn(rows, 64, generator=g, device=g.device),),
        reference=torch.relu,
        exact=lambda x: torch.relu(x.double()),
        small=small,
    )

RELU = relu(4096, small=relu(67))

def good(x, out):
    out.copy_(torch.relu(x))
"""

TOOL = """#!{python}
import json, os, subprocess, sys, time
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("NVIDIA (R) Compute Sanitizer\\nVersion 2025.3.0.0 (build 1) (public-release)")
    sys.exit()
tool = arguments[arguments.index("--tool") + 1]
log = arguments[arguments.index("--log-file") + 1]
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(arguments) + "\\n")
broken = os.environ.get("BROKEN")
if broken == "machine":
    open(log, "w").write("========= COMPUTE-SANITIZER\\n========= Device not supported. See the documentation\\n")
    sys.exit(1)
if broken == "crash":
    print("the injection library fell over")
    sys.exit(3)
if broken == "hang":
    time.sleep(600)
status = subprocess.run(arguments[arguments.index({python!r}):]).returncode
ran = [json.loads(line) for line in open(os.environ["KGATE_SANITIZE_RESULTS"])]
bad = any("bad" in line.get("test", "") for line in ran) and tool == "memcheck"
with open(log, "w") as file:
    file.write("========= COMPUTE-SANITIZER\\n")
    if bad:
        file.write("========= Invalid __global__ write of size 4 bytes\\n")
        file.write("=========     at spoils(float *, int)+0x90 in spoils.cu:7\\n")
        file.write("=========     by thread (3,0,0) in block (1,0,0)\\n")
        file.write("=========     Address 0x7f00 is out of bounds\\n")
    file.write(f"========= ERROR SUMMARY: {{12 if bad else 0}} errors\\n")
sys.exit(status)
"""
"""Runs the program, then reports a bad write in every test with `bad` in its name."""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The stand-in is the only compute-sanitizer; returns the command lines that it was started with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "compute-sanitizer"
    program.write_text(TOOL.format(python=sys.executable))
    program.chmod(0o755)
    calls = tmp_path / "calls.jsonl"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))
    return lambda: [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


@pytest.fixture
def no_tool(monkeypatch):
    monkeypatch.setattr(tools, "_candidates", lambda: iter(()))


@pytest.fixture
def suite(pytester):
    def write(body):
        pytester.makeconftest(DEVICE)
        pytester.makepyfile(PRELUDE + textwrap.dedent(body))
        return pytester

    return write


MARKED = """
@pytest.mark.sanitize("memcheck", "racecheck")
@pytest.mark.speedup(0.95)
def test_NAME(kbench):
    kbench(good, RELU)
"""


def test_a_clean_kernel_is_raced_and_its_record_says_what_watched_it(suite, tool):
    pytester = suite(MARKED.replace("NAME", "fine"))
    result = pytester.runpytest_inprocess("--kgate-json=records.json")
    result.assert_outcomes(passed=1)
    (record,) = load(pytester.path / "records.json")
    assert record["verdict"] == "PASS"
    assert record["timing"] is not None
    found = record["sanitizer"]
    assert [run["tool"] for run in found["runs"]] == ["memcheck", "racecheck"]
    assert {run["verdict"] for run in found["runs"]} == {found["verdict"]} == {"PASS"}
    assert found["runs"][0]["version"] == "2025.3.0.0"
    assert found["runs"][0]["launched"] == [{"candidate": "good", "problem": "relu 67x64"}]
    jsonschema.validate(json.loads((pytester.path / "records.json").read_text()), json_schema())
    first, second = tool()
    assert (first[first.index("--tool") + 1], second[second.index("--tool") + 1]) == ("memcheck", "racecheck")


def test_a_finding_fails_the_test_before_anything_is_timed(suite, tool):
    pytester = suite(MARKED.replace("NAME", "bad"))
    pytester.makeini("[pytest]\naddopts = -k bad\nkgate_json = other.json")
    result = pytester.runpytest_inprocess("-o", "kgate_json=records.json")
    result.assert_outcomes(failed=1)
    text = " ".join(result.stdout.str().split())
    assert (
        "memcheck: Invalid __global__ write of size 4 bytes at spoils.cu:7 in spoils, thread (3, 0, 0) of block "
        "(1, 0, 0), address 0x7f00, is out of bounds (and 11 more)"
    ) in text
    assert "racecheck: clean on relu 67x64" in text
    (record,) = load(pytester.path / "records.json")
    assert (record["verdict"], record["timing"], record["correctness"]) == ("ERROR", None, None)
    finding = record["sanitizer"]["runs"][0]["findings"][0]
    assert (finding["kernel"], finding["line"], finding["thread"]) == ("spoils(float *, int)", 7, [3, 0, 0])
    jsonschema.validate(json.loads((pytester.path / "records.json").read_text()), json_schema())


def test_marked_tests_share_a_process_a_tool(suite, tool):
    result = suite(
        """
        @pytest.mark.sanitize("memcheck", "synccheck")
        @pytest.mark.parametrize("number", range(3))
        def test_many(kbench, number):
            kbench(good, RELU)

        @pytest.mark.sanitize("memcheck", full_size=True)
        def test_other(kbench):
            kbench(good, RELU)
        """
    ).runpytest_inprocess("--kgate-json=records.json", "--kgate-budget=0.2")
    result.assert_outcomes(passed=4)
    assert [call[call.index("--tool") + 1] for call in tool()] == ["memcheck", "synccheck", "memcheck"]


def test_the_watched_process_calls_the_candidate_and_nothing_else(suite, tool):
    pytester = suite(
        """
        CALLS = os.environ["CALLS"] + ".log"

        def note(word):
            with open(CALLS, "a") as file:
                file.write(f"{word} {os.environ.get('PYTORCH_NO_CUDA_MEMORY_CACHING')}\\n")

        def reference(x):
            note("reference" if x.device.type == "cpu" else x.device.type)
            return torch.relu(x)

        def candidate(x, out):
            note("candidate")
            assert torch.isfinite(x).all()
            out.copy_(torch.relu(x))

        PROBLEM = Problem(
            name="relu",
            inputs=lambda g: (torch.randn(8, 8, generator=g, device=g.device),),
            reference=reference,
            exact=lambda x: note("exact") or torch.relu(x.double()),
        )

        @pytest.mark.sanitize("initcheck")
        def test_it(kbench):
            record = kbench(candidate, PROBLEM)
            if os.environ.get("KGATE_SANITIZE_RESULTS"):
                assert record["verdict"] == "MEASURED"
        """
    )
    pytester.runpytest_inprocess("--kgate-budget=0.2").assert_outcomes(passed=1)
    noted = (pytester.path / os.environ["CALLS"]).with_name("calls.jsonl.log").read_text().split("\n")
    watched = [line.split()[0] for line in noted if line.endswith(" 1")]
    assert watched == ["meta", "candidate"]


@pytest.mark.parametrize("option", ["", "--kgate-require-sanitizer"])
def test_without_the_tool_a_test_is_skipped_or_fails_where_it_is_required(suite, no_tool, option):
    result = suite(MARKED.replace("NAME", "fine")).runpytest_inprocess("-rs", *option.split())
    result.assert_outcomes(**({"failed": 1} if option else {"skipped": 1}))
    assert "compute-sanitizer was not found" in result.stdout.str()


@pytest.mark.parametrize("option", ["", "--kgate-require-gpu"])
def test_without_a_gpu_a_test_is_skipped_or_fails_where_one_is_required(pytester, tool, option):
    pytester.makepyfile(PRELUDE + MARKED.replace("NAME", "fine"))
    result = pytester.runpytest_inprocess("-rs", "--kgate-device=host", *option.split())
    result.assert_outcomes(**({"failed": 1} if option else {"skipped": 1}))
    assert "compute-sanitizer needs a CUDA device" in result.stdout.str()
    assert tool() == []


def test_a_machine_on_which_the_tool_does_not_work_skips_with_what_it_said(suite, tool, monkeypatch):
    monkeypatch.setenv("BROKEN", "machine")
    result = suite(MARKED.replace("NAME", "fine")).runpytest_inprocess("-rs")
    result.assert_outcomes(skipped=1)
    assert "Device not supported" in result.stdout.str()


@pytest.mark.parametrize(
    ("broken", "timeout", "said"),
    [
        ("crash", 60, "ended with status 3 before its test did: the injection library fell over"),
        ("hang", 1, "within 1 s"),
    ],
)
def test_a_process_that_crashes_or_hangs_is_explained(suite, tool, monkeypatch, broken, timeout, said):
    monkeypatch.setenv("BROKEN", broken)
    result = suite(MARKED.replace("NAME", "fine")).runpytest_inprocess(f"--kgate-timeout={timeout}")
    result.assert_outcomes(failed=1)
    assert said in " ".join(result.stdout.str().split())


def test_a_candidate_that_fails_under_the_tool_is_not_called_clean(suite, tool):
    pytester = suite(
        """
        def refuses(x):
            if os.environ.get("KGATE_SANITIZE_RESULTS"):
                raise RuntimeError("no such kernel")
            return torch.relu(x)

        @pytest.mark.sanitize("memcheck")
        def test_it(kbench):
            kbench(refuses, RELU)
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    assert "the test failed under memcheck: The candidate raised RuntimeError" in " ".join(result.stdout.str().split())


def test_a_device_assert_in_the_watched_process_is_the_finding(suite, tool):
    pytester = suite(
        """
        import sys

        def asserts(x):
            if os.environ.get("KGATE_SANITIZE_RESULTS"):
                sys.stderr.write(
                    "/kernels/wmma.cu:210: void kgate::wmma(kgate::SdpaArgs): block: [1,0,0], thread: [3,0,0] "
                    "Assertion `row_sum >= 0.0f` failed.\\\\n"
                )
                raise RuntimeError("CUDA error: device-side assert triggered")
            return torch.relu(x)

        @pytest.mark.sanitize("synccheck")
        def test_it(kbench):
            kbench(asserts, RELU)
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    said = "device assert: row_sum >= 0.0f at wmma.cu:210, thread (3, 0, 0) of block (1, 0, 0)"
    assert said in " ".join(result.stdout.str().split())


def test_a_test_without_kbench_is_watched_as_a_whole(pytester, tool, monkeypatch):
    monkeypatch.setattr("pytest_kgate.session.Session.device", lambda self: type("Gpu", (_Gpu,), {})())
    pytester.makepyfile(
        PRELUDE
        + """
@pytest.mark.sanitize("memcheck")
def test_bad():
    assert os.environ.get("KGATE_SANITIZE_RESULTS"), "the body ran before the tool had its say"

@pytest.mark.sanitize("memcheck")
def test_fine():
    pass
"""
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["compute-sanitizer: memcheck: Invalid __global__ write*"])


class _Gpu:
    kind = "cuda"
    torch_device = "none"

    def environment(self):
        return {}


@pytest.mark.parametrize("marker", ['"memchek"', '"memcheck", kernels=""', "full_size=3"])
def test_a_marker_that_makes_no_sense_ends_the_collection(pytester, marker):
    pytester.makepyfile(f"import pytest\n@pytest.mark.sanitize({marker})\ndef test_it():\n    pass\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*Usage: @pytest.mark.sanitize(*tools, kernels=None, full_size=False)*"])


def test_a_marked_test_that_never_calls_kbench_fails(suite, tool):
    result = suite('@pytest.mark.sanitize("memcheck")\ndef test_it(kbench):\n    pass\n').runpytest_inprocess()
    result.assert_outcomes(failed=1)
    assert "never called kbench" in result.stdout.str()


SEVERAL = """
def test_one(kbench):
    kbench(good, RELU)

def test_bad(kbench):
    kbench(good, RELU)

def test_without_a_kernel():
    assert False, "has nothing to watch"

@pytest.mark.sanitize
def test_marked(kbench):
    kbench(good, RELU)
"""


def test_the_command_runs_all_tests_in_one_process_a_tool_and_each_alone_where_something_is_found(
    suite, tool, monkeypatch, capsys
):
    pytester = suite(SEVERAL)
    monkeypatch.chdir(pytester.path)
    (file,) = pytester.path.glob("test_*.py")
    assert main(["sanitize", file.name, "--tool", "racecheck", "--json", "clean.json"]) == 0
    assert len(tool()) == 1
    assert "racecheck: 3 clean" in capsys.readouterr().out
    assert main(["sanitize", file.name, "--tool", "memcheck", "--json", "found.json"]) == 1
    assert len(tool()) == 1 + 1 + 3
    said = capsys.readouterr().out
    assert "memcheck: 2 clean, 1 with findings" in said
    assert "::test_bad\n    memcheck: Invalid __global__ write" in said
    found = json.loads((pytester.path / "found.json").read_text())
    assert found["schema"] == "pytest-kgate/sanitizer"
    assert [one["verdict"] for one in found["outcomes"]] == ["PASS", "FAIL", "PASS"]
    assert found["outcomes"][1]["findings"][0]["kernel"] == "spoils(float *, int)"


def test_the_command_takes_marked_tests_where_none_is_named_and_hands_its_options_on(suite, tool, monkeypatch, capsys):
    pytester = suite(SEVERAL)
    monkeypatch.chdir(pytester.path)
    assert main(["sanitize", "--tool", "synccheck", "--kernels", "wmma", "--full-size"]) == 0
    assert "synccheck: 1 clean" in capsys.readouterr().out
    (call,) = tool()
    assert call[call.index("--kernel-name") + 1] == "kernel_substring=wmma"
    assert "--report-api-errors" not in call


def test_the_command_without_tool_or_tests_says_what_to_do(tmp_path, tool, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_none.py").write_text("def test_it():\n    pass\n")
    assert main(["sanitize", "test_none.py", "--tool", "memcheck"]) == 2
    assert "no test to watch" in capsys.readouterr().err
    monkeypatch.setattr(tools, "_candidates", lambda: iter(()))
    assert main(["sanitize", "test_none.py"]) == 2
    assert "was not found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shape", "small"),
    [
        (Shape(1, 2, 67, 64), None),
        (Shape(8, 16, 8192, 128, causal=True), Shape(2, 2, 256, 128, causal=True)),
        (Shape(1, 8, 1000, 80), Shape(1, 2, 256 + 104, 80)),
    ],
    ids=str,
)
def test_the_smaller_attention_keeps_head_dim_mask_and_tail(shape, small):
    smaller = sdpa_problem(shape).small
    assert (None if smaller is None else smaller.shape) == small
    assert smaller is None or smaller.small is None

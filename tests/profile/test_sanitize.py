"""What users of the marker see, with a stand-in for compute-sanitizer on PATH."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
import torch
from record_schema import demand_valid
from stand_in import MARKED
from stand_in import PRELUDE

import pytest_kgate.bench.call
import pytest_kgate.profile.sanitizer.run
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate import Problem
from pytest_kgate import Shape
from pytest_kgate.device.arm import bind
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.profile.under_tool.launch_only import _called
from pytest_kgate.profile.under_tool.launch_only import _drawn
from pytest_kgate.report.record.document import load

pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")


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
    assert found["runs"][0]["launched"] == [{"candidate": "good", "problem": "silu 67x64"}]
    demand_valid(json.loads((pytester.path / "records.json").read_text()))
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
    assert "racecheck: clean on silu 67x64" in text
    (record,) = load(pytester.path / "records.json")
    assert (record["verdict"], record["timing"], record["correctness"]) == ("ERROR", None, None)
    finding = record["sanitizer"]["runs"][0]["findings"][0]
    assert (finding["kernel"], finding["line"], finding["thread"]) == ("spoils(float *, int)", 7, [3, 0, 0])
    demand_valid(json.loads((pytester.path / "records.json").read_text()))


def test_marked_tests_share_a_process_a_tool(suite, tool):
    result = suite(
        """
        @pytest.mark.sanitize("memcheck", "synccheck")
        @pytest.mark.parametrize("number", range(3))
        def test_many(kbench, number):
            kbench(good, SILU)

        @pytest.mark.sanitize("memcheck", full_size=True)
        def test_other(kbench):
            kbench(good, SILU)
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
            return torch.nn.functional.silu(x)

        def candidate(x, out):
            note("candidate")
            assert torch.isfinite(x).all()
            out.copy_(torch.nn.functional.silu(x))

        PROBLEM = Problem(
            name="silu",
            inputs=lambda g: (torch.randn(8, 8, generator=g, device=g.device),),
            reference=reference,
            exact=lambda x: note("exact") or torch.nn.functional.silu(x.double()),
        )

        @pytest.mark.sanitize("initcheck")
        def test_it(kbench):
            record = kbench(candidate, PROBLEM)
            if os.environ.get("KGATE_UNDER_TOOL_RESULTS"):
                assert record["verdict"] == "MEASURED"
        """
    )
    pytester.runpytest_inprocess("--kgate-budget=0.2").assert_outcomes(passed=1)
    noted = (pytester.path / os.environ["CALLS"]).with_name("calls.jsonl.log").read_text().split("\n")
    watched = [line.split()[0] for line in noted if line.endswith(" 1")]
    # Twice more, as initcheck needs it: behind zeros and behind ones, to see what it writes.
    assert watched == ["meta", "candidate", "candidate", "candidate"]


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
        ("internal", 60, "failed itself (Internal Sanitizer Error: The Sanitizer failed to handle it); memcheck shows"),
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
            if os.environ.get("KGATE_UNDER_TOOL_RESULTS"):
                raise RuntimeError("no such kernel")
            return torch.nn.functional.silu(x)

        @pytest.mark.sanitize("memcheck")
        def test_it(kbench):
            kbench(refuses, SILU)
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
            if os.environ.get("KGATE_UNDER_TOOL_RESULTS"):
                sys.stderr.write(
                    "/kernels/wmma.cu:210: void kgate::wmma(kgate::SdpaArgs): block: [1,0,0], thread: [3,0,0] "
                    "Assertion `row_sum >= 0.0f` failed.\\\\n"
                )
                raise RuntimeError("CUDA error: device-side assert triggered")
            return torch.nn.functional.silu(x)

        @pytest.mark.sanitize("synccheck")
        def test_it(kbench):
            kbench(asserts, SILU)
        """
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    said = "device assert: row_sum >= 0.0f at wmma.cu:210, thread (3, 0, 0) of block (1, 0, 0)"
    assert said in " ".join(result.stdout.str().split())


def test_a_test_without_kbench_is_watched_as_a_whole(pytester, tool, monkeypatch):
    monkeypatch.setattr("pytest_kgate.session.session.Session.device", lambda self: type("Gpu", (_Gpu,), {})())
    pytester.makepyfile(
        PRELUDE
        + """
@pytest.mark.sanitize("memcheck")
def test_bad():
    assert os.environ.get("KGATE_UNDER_TOOL_RESULTS"), "the body ran before the tool had its say"

@pytest.mark.sanitize("memcheck")
def test_fine():
    pass
"""
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["compute-sanitizer: memcheck: Invalid __global__ write*"])


@pytest.mark.parametrize(("arguments", "said"), [((), "no debug"), (("--kgate-debug",), "debug")])
def test_kernels_are_built_under_the_tool_as_in_the_session(suite, tool, arguments, said):
    pytester = suite(
        """
        def reports_how_it_is_built(x):
            if os.environ.get("KGATE_UNDER_TOOL_RESULTS"):
                raise RuntimeError("debug" if SESSION.debug else "no debug")
            return torch.nn.functional.silu(x)

        @pytest.fixture(autouse=True)
        def options(pytestconfig):
            from pytest_kgate.session.options.sources import from_config

            global SESSION
            SESSION = from_config(pytestconfig)

        @pytest.mark.sanitize("memcheck")
        def test_it(kbench):
            kbench(reports_how_it_is_built, SILU)
        """
    )
    result = pytester.runpytest_inprocess(*arguments)
    result.assert_outcomes(failed=1)
    assert f"The candidate raised RuntimeError: {said}" in " ".join(result.stdout.str().split())


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


def test_all_inputs_are_on_the_device_under_a_tool_sparse_and_empty_ones_too():
    seen = []

    def inputs(g):
        return torch.randn(4, 6, generator=g)[:, ::2], torch.empty(0, 3), torch.eye(3).to_sparse(), 2

    def double(x, *_):
        return x * 2

    several = Problem("double", inputs, double, double)
    candidate = bind("candidate", lambda *found: seen.append(found), {})
    _called(candidate, *_drawn(several, inputs, 1, candidate, SimpleNamespace(torch_device="meta")))
    ((sliced, empty, sparse, number),) = seen
    assert {one.device.type for one in (sliced, empty, sparse)} == {"meta"}
    assert (sliced.stride(), empty.shape, sparse.layout, number) == ((6, 2), (0, 3), torch.sparse_coo, 2)

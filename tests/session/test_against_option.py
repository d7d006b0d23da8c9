"""A kernel raced against its own build at another revision of its repository."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid
from repositories import commit
from repositories import git
from sample_suite import fake_device

from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.together.history.point import points_of

KERNEL = """
#include "sdpa.h"
#include "factor.h"
#ifndef TILE  // knob: of no consequence
#define TILE 4
#endif
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* a, void*) {
    const float* v = (const float*)a->v;
    float* o = (float*)a->o;
    for (int64_t row = 0; row < (int64_t)a->batch * a->heads; ++row)
        for (int d = 0; d < a->head_dim; ++d) o[row * a->head_dim + d] = FACTOR * v[row * a->head_dim + d];
    return 0;
}
KGATE_EXPORT const char* kgate_message(void) { return "no"; }
"""
"""Attention of one key, whose answer is the value itself."""

TESTS = """
import pytest
from pytest_kgate import Shape

@pytest.mark.speedup(0.9)
def test_kernel(kbench, kernels, sdpa_oracle):
    kbench(kernels("kernel.cpp", TILE=8), sdpa_oracle(Shape(1, 2, 1, 16), dtype="float32"), weak="allow")

@pytest.mark.speedup(2.0)
@pytest.mark.regression(margin=0.3)
def test_margin(kbench, kernels, sdpa_oracle):
    kbench(kernels("kernel.cpp"), sdpa_oracle(Shape(1, 2, 1, 16), dtype="float32"), weak="allow")

@pytest.mark.regression
def test_wrapped(kbench, kernels, sdpa_oracle):
    kernel = kernels("kernel.cpp")
    kbench(lambda q, k, v: kernel(q, k, v), sdpa_oracle(Shape(1, 2, 1, 16), dtype="float32"), weak="allow")
"""
LOCAL = ["-p", "no:cacheprovider", "--kgate-json=records.json"]


def judged(pytester: pytest.Pytester, *arguments: str) -> tuple[pytest.RunResult, list[Record]]:
    result = pytester.runpytest_inprocess(*LOCAL, *arguments)
    demand_valid(json.loads((pytester.path / "records.json").read_text()))
    return result, load(pytester.path / "records.json")


@pytest.fixture
def repository(pytester: pytest.Pytester, build_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """At `wrong` the kernel is wrong, at `broken` it does not compile, at `before` there is none; then it is right."""
    monkeypatch.setenv("KGATE_DEVICE", "host")
    monkeypatch.setenv("KGATE_CACHE_DIR", str(build_cache))
    folder = pytester.path
    git(folder, "init", "-q", "-b", "main")
    pytester.makeconftest(fake_device(0.8, 0.01))
    (folder / ".gitignore").write_text("records.json\n__pycache__\n")
    (folder / "test_it.py").write_text(TESTS)
    commit(folder)
    git(folder, "tag", "before")
    commit(folder, kernel__cpp=KERNEL, factor__h="#define FACTOR 2\n")
    git(folder, "tag", "wrong")
    commit(folder, factor__h="#error not now\n")
    git(folder, "tag", "broken")
    header = (csrc_directory() / "sdpa.h").read_text()
    header, found = re.subn(r"(#define KGATE_SDPA_VERSION) \d+", r"\1 99", header)
    assert found == 1
    commit(folder, factor__h="#define FACTOR 1.0f\n", sdpa__h=header)
    git(folder, "tag", "newer")
    git(folder, "rm", "-q", "sdpa.h")
    without_knob = KERNEL.replace("#ifndef TILE  // knob: of no consequence\n#define TILE 4\n#endif\n", "")
    commit(folder, kernel__cpp=without_knob, factor__h="#define FACTOR 1.0f\n")
    git(folder, "tag", "right")
    commit(folder, kernel__cpp=KERNEL)
    return folder


def test_kernel_is_raced_against_its_own_build_of_then(pytester, repository):
    (repository / "factor.h").write_text("#define FACTOR 1.f\n")  # what is not committed stays as it is
    result, records = judged(pytester, "--kgate-against=right", "-k", "test_kernel")
    result.assert_outcomes(passed=1)
    own, old = records
    assert (len([*points_of(own)]), len([*points_of(old)])) == (1, 0)
    commit_of = git(repository, "rev-parse", "right")
    assert [one["call"] for one in records] == [0, 100]
    assert "against" not in own
    assert old["against"]["commit"] == commit_of
    assert (old["against"]["same"], old["against"]["lacking"]) == (False, ["TILE"])
    assert old["reference"]["name"].endswith(f"kernel at {commit_of[:9]} (right)")
    assert [(gate["bound"], gate["verdict"]) for gate in old["gates"]] == [(1.01, "PASS")]
    assert any("no knob TILE" in warning for warning in old["warnings"])
    assert (repository / "factor.h").read_text() == "#define FACTOR 1.f\n"
    assert git(repository, "status", "--porcelain") == " M factor.h"


def test_slower_than_then_fails_and_one_build_is_no_race(pytester, repository):
    pytester.makeconftest(fake_device(1.1, 0.01))
    (repository / "factor.h").write_text("#define FACTOR 1.f\n")
    result, records = judged(pytester, "--kgate-against=right", "-k", "kernel or margin")
    result.assert_outcomes(failed=1, passed=1)  # a margin of 30 % holds
    assert [one["verdict"] for one in records] == ["FAIL", "FAIL", "PASS", "PASS"]
    result.stdout.fnmatch_lines(["*2 of 2 kbench calls have failed*"])
    (repository / "factor.h").write_text("#define FACTOR 1.0f\n")
    result, records = judged(pytester, "--kgate-against=HEAD", "-k", "margin")
    result.assert_outcomes(passed=1)
    assert records[1]["against"]["same"]
    assert (records[1]["verdict"], records[1]["gates"]) == ("MEASURED", [])


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("before", "kernel.cpp did not exist at"),
        ("broken", "does not compile"),
        ("wrong", "is not right itself"),
        ("newer", "was built against version 99 of sdpa.h"),
    ],
)
def test_what_is_wrong_with_the_old_kernel_is_said_of_it_and_fails_nothing(pytester, repository, revision, said):
    result, records = judged(pytester, f"--kgate-against={revision}", "-k", "test_kernel", "--kgate-require-metrics")
    result.assert_outcomes(passed=1, warnings=1)
    assert [one["verdict"] for one in records] == ["PASS", "NOT MEASURED"]
    assert said in records[1]["reason"]
    assert git(repository, "rev-parse", revision)[:9] in records[1]["reason"]


def test_kernel_within_a_function_of_the_test_is_built_of_its_source_of_then(pytester, repository):
    result, records = judged(pytester, "--kgate-against=wrong", "-k", "wrapped")
    result.assert_outcomes(passed=1, warnings=1)
    assert "is not right itself" in records[1]["reason"]


def test_misuse_is_a_sentence_before_anything_is_raced(pytester, repository):
    (repository / "test_it.py").write_text(
        "import torch\n"
        + TESTS
        + """
def test_python(kbench, sdpa_oracle):
    kbench(torch.add, sdpa_oracle(Shape(1, 2, 1, 16), dtype="float32"), against="right")

def test_plain(kbench, sdpa_oracle):
    kbench(torch.nn.functional.scaled_dot_product_attention, sdpa_oracle(Shape(1, 2, 1, 16)), weak="allow")
"""
    )
    result = pytester.runpytest_inprocess(*LOCAL, "--kgate-against=nowhere", "-k", "not wrapped")
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(["*'nowhere' means no commit in*", "*nor a function of a Python file*"])
    assert len(load(repository / "records.json")) == 1

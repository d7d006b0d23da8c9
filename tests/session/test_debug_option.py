"""--kgate-debug, the perf marker's `debug` and that of `kernels`: which of them a kernel is built by."""

from __future__ import annotations

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

from pytest_kgate.build import library
from pytest_kgate.build.compiler import cache
from pytest_kgate.report.record.document import load

NOTHING = """
#include "sdpa.h"
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs*, void*) { return 0; }
KGATE_EXPORT const char* kgate_message() { return ""; }
"""


@pytest.fixture
def folder(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A kernel that is built in a second, whose builds are kept for the next run of the suite."""
    library.binding()
    monkeypatch.setenv("KGATE_CACHE_DIR", str(cache.root()))
    pytester.makefile(".cpp", mine=NOTHING)
    return pytester


BUILDS = """
import pytest

def flags(kernel):
    return kernel.name, "-DKGATE_DEBUG" in kernel.build.flags

def test_plain(kernels):
    assert flags(kernels("mine.cpp")) == PLAIN

@pytest.mark.perf(debug=True)
def test_marker(kernels):
    assert flags(kernels("mine.cpp")) == ("mine(debug)", True)
    assert flags(kernels("mine.cpp", debug=False)) == ("mine", False)

@pytest.mark.perf(debug=False)
def test_marker_against_the_session(kernels):
    assert flags(kernels("mine.cpp")) == ("mine", False)
    assert flags(kernels("mine.cpp", debug=True)) == ("mine(debug)", True)
"""


@pytest.mark.parametrize(
    ("arguments", "plain"),
    [((), '("mine", False)'), (("--kgate-debug",), '("mine(debug)", True)')],
    ids=["release", "debug"],
)
def test_kernel_is_built_with_its_asserts_where_it_is_asked_for(folder, arguments, plain):
    folder.makepyfile(BUILDS.replace("PLAIN", plain))
    folder.runpytest_inprocess("--kgate-device=host", *arguments).assert_outcomes(passed=3)


def test_record_and_summary_say_that_it_is_a_debug_build(folder, monkeypatch):
    monkeypatch.setenv("KGATE_DEBUG", "1")
    folder.makepyfile(
        """
        from pytest_kgate import Shape

        def test_it(kbench, kernels, sdpa_oracle):
            kbench(kernels("mine.cpp"), sdpa_oracle(Shape(1, 1, 8, 16), dtype="float32"), speedup=2.0)
        """
    )
    result = folder.runpytest_inprocess("--kgate-device=host", "--kgate-json=records.json")
    result.assert_outcomes(failed=1)  # it computes nothing
    (record,) = load(folder.path / "records.json")
    assert record["candidate"]["name"] == "mine(debug)"
    assert "-DKGATE_DEBUG" in record["candidate"]["flags"]
    assert "debug build" in " ".join(record["warnings"])


def test_kbench_can_not_build_anew(folder):
    folder.makepyfile(
        """
        import torch
        from pytest_kgate import Problem

        RELU = Problem("relu", lambda g: (torch.randn(8, generator=g),), torch.relu, lambda x: torch.relu(x.double()))

        def test_it(kbench):
            kbench(torch.relu, RELU, debug=True)
        """
    )
    result = folder.runpytest_inprocess("--kgate-device=host")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*comes too late: the kernel is built already.*", "*perf(debug=True)*"])

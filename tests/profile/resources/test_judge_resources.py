"""Which kernels a limit is held to: those that a GPU launches, or else those that the compiler reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.build.compiler.ninja import BuildResult
from pytest_kgate.build.compiler.ptxas import Resources
from pytest_kgate.device.cuda.context import CudaContext
from pytest_kgate.profile.resources import judge
from pytest_kgate.profile.resources.judge import judge_resources
from pytest_kgate.profile.resources.kernel_use import KernelUse
from pytest_kgate.profile.resources.limits import limit
from pytest_kgate.report.record.record import Record

MINE = KernelUse("mine", 80, 40, None, 0, 1024, 2)
LIBRARYS = KernelUse("cublas", 255, 0, 0, 0, 0, 1)
BUILD = BuildResult(
    path=Path("gone.so"),
    source_hash="0" * 64,
    flags=("-O3",),
    arch="sm_90a",
    resources=(Resources("mine", 80, 0, 40, 8, 8, "sm_90a"), Resources("unused", 200, 0, 0, 0, 0, "sm_90a")),
    seconds=1.0,
    cached=True,
    compiler="nvcc",
    command="nvcc gone.cu -o gone.so",
)


class Gpu(CudaContext):
    """A GPU that nothing runs on."""

    kind = "cuda"

    def __init__(self, lost: str | None = None) -> None:
        self.lost = lost


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What comes of limits of 100 registers and 20 spilled bytes, where a call launches this."""

    def found(
        launches: list[KernelUse] | str,
        *,
        built: bool,
        record: Record | None = None,
        device: Any = None,
        build: Any = BUILD,
        **settings: Any,
    ) -> dict[str, tuple[str, str, str]]:
        monkeypatch.setattr(judge, "launched", lambda device, candidate, problem: launches)
        candidate = SimpleNamespace(build=build, device_kind="cuda") if built else SimpleNamespace()
        request = SimpleNamespace(
            candidate=candidate,
            unusable=None,
            problem=SimpleNamespace(shape=None),
            settings=SimpleNamespace(**{"isolate": False, "until": "time", "timeout": 60.0, **settings}),
        )
        limits = [limit("registers", 100), limit("spills", 20)]
        record = record or speed_record()
        judged = judge_resources(request, device or Gpu(), limits, record, pytest.fail)  # type: ignore[arg-type]
        return {one["name"]: (one["verdict"], one["kernel"], one["reason"]) for one in judged}

    return found


def test_own_kernels_are_those_that_were_compiled_here_and_launched(found: Any) -> None:
    assert found([LIBRARYS, MINE], built=True) == {"registers": ("PASS", "mine", ""), "spills": ("PASS", "mine", "")}


def test_all_kernels_that_a_plain_callable_launches_are_its_own(found: Any) -> None:
    registers, spills = found([LIBRARYS, MINE], built=False).values()
    assert registers == ("FAIL", "cublas", "cublas takes 255 registers a thread; at most 100 registers are allowed")
    assert spills[0] == "NOT MEASURED"
    assert found([replace(MINE, local_bytes=0, spill_bytes=0)], built=False)["spills"][0] == "PASS"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"launches": "it can't be captured"}, "it can't be captured"),
        ({"launches": [], "isolate": True}, "it runs in a process of its own"),
        ({"launches": [], "until": "build"}, "it is not to be called"),
        ({"launches": [], "record": wrong_record()}, "it was not called again, since the verdict is WRONG"),
        ({"launches": [], "device": Gpu("a fault")}, "the CUDA context was lost (a fault)"),
        ({"launches": [], "device": SimpleNamespace(kind="host")}, "no GPU runs it"),
    ],
)
def test_what_is_not_launched_is_judged_by_the_compiler_or_not_at_all(
    found: Any, how: dict[str, Any], why: str
) -> None:
    registers, _ = found(built=True, **how).values()
    assert registers[:2] == ("FAIL", "unused")
    assert registers[2].endswith("(compiled for sm_90a)")
    registers, spills = found(built=False, **how).values()
    assert registers == spills == ("NOT MEASURED", "", f"wmma was not compiled here, and {why}")


def test_a_debug_build_is_not_the_kernel_that_is_in_question(found: Any) -> None:
    debug = replace(BUILD, flags=("-O3", "-DKGATE_DEBUG"))
    registers, _ = found([MINE], built=True, build=debug).values()
    assert registers == ("NOT MEASURED", "", "wmma is a debug build, and what it asserts takes registers")


def test_a_library_without_a_kernel_of_its_own_is_not_held_to_those_of_others(found: Any) -> None:
    bare = replace(BUILD, resources=())
    registers, _ = found([LIBRARYS], built=True, build=bare).values()
    assert registers[0] == "NOT MEASURED"
    assert registers[2].startswith("wmma has no CUDA kernel of its own")

"""Limits on resources: what a marker may say, and how they are held to kernels."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pytest_kgate.profile.resources.kernel_use import KernelUse
from pytest_kgate.profile.resources.kernel_use import judged
from pytest_kgate.profile.resources.kernel_use import not_judged
from pytest_kgate.profile.resources.limits import RESOURCES
from pytest_kgate.profile.resources.limits import limit

LEAN = KernelUse(
    "lean",
    registers=10,
    local_bytes=0,
    spill_bytes=0,
    static_shared_bytes=1024,
    dynamic_shared_bytes=0,
    blocks_per_sm=16,
)
GREEDY = replace(LEAN, kernel="greedy", registers=80, local_bytes=40, dynamic_shared_bytes=64 * 1024, blocks_per_sm=2)
UNLAUNCHED = replace(GREEDY, kernel="unlaunched", dynamic_shared_bytes=None, blocks_per_sm=None)
FOREIGN = replace(GREEDY, kernel="triton_", spill_bytes=None)


def verdicts(uses: list[KernelUse], **bounds: object) -> dict[str, tuple[object, ...]]:
    found = judged([limit(name, bound) for name, bound in bounds.items()], uses)
    return {one["name"]: (one["verdict"], one["value"], one["kernel"]) for one in found}


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("registers", 72, 72),
        ("registers", "<= 72", 72),
        ("shared_kib", 95.5, 95.5),
        ("spills", 0, 0),
        ("blocks_per_sm", 2, 2),
        ("blocks_per_sm", ">=2", 2),
    ],
)
def test_a_limit_is_a_number_or_says_its_sense(name: str, value: object, bound: float) -> None:
    assert limit(name, value).bound == bound


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("registers", -1, "registers must be a number of registers, 0 or more, not -1"),
        ("registers", "72", "registers must be a number of registers, 0 or more, not '72'"),
        ("registers", True, "registers must be a number of registers, 0 or more, not True"),
        ("registers", None, "registers must be a number of registers, 0 or more, not None"),
        ("registers", "<= many", "registers must be a number of registers, 0 or more, not '<= many'"),
        ("shared_kib", float("nan"), "shared_kib must be a number of KiB, 0 or more, not nan"),
        ("local_bytes", float("inf"), "local_bytes must be a number of bytes, 0 or more, not inf"),
        ("blocks_per_sm", 0, "blocks_per_sm must be a number of blocks, 1 or more, not 0"),
        ("registers", ">= 72", "registers is an upper limit, write \"<= 72\", not '>= 72'"),
        ("blocks_per_sm", "<= 2", "blocks_per_sm is a lower limit, write \">= 2\", not '<= 2'"),
    ],
)
def test_a_limit_that_makes_no_sense_is_told_what_to_write(name: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
        limit(name, value)


def test_a_limit_holds_for_each_kernel_and_the_worst_is_named() -> None:
    found = verdicts([LEAN, GREEDY], registers=80, local_bytes=39, shared_kib=65, spills=0, blocks_per_sm=3)
    assert found == {
        "registers": ("PASS", 80, "greedy"),
        "local_bytes": ("FAIL", 40, "greedy"),
        "shared_kib": ("PASS", 65, "greedy"),
        "spills": ("PASS", 0, "lean"),
        "blocks_per_sm": ("FAIL", 2, "greedy"),
    }


def test_a_broken_limit_says_by_how_much_and_where() -> None:
    registers, blocks = judged(
        [limit("registers", 72), limit("blocks_per_sm", 3)], [LEAN, GREEDY], "compiled for sm_90"
    )
    assert registers["reason"] == (
        "greedy takes 80 registers a thread; at most 72 registers are allowed (compiled for sm_90)"
    )
    assert blocks["reason"].startswith("an SM holds 2 blocks of greedy at once; at least 3 blocks are demanded")
    [one] = judged([limit("registers", 1)], [LEAN, GREEDY], "")
    assert one["reason"] == "greedy takes 80 registers a thread; at most 1 register is allowed"


def test_what_only_a_launch_tells_is_not_guessed() -> None:
    found = verdicts([LEAN, UNLAUNCHED], shared_kib=100, blocks_per_sm=1, registers=80)
    assert found["shared_kib"] == found["blocks_per_sm"] == ("NOT MEASURED", None, "")
    assert found["registers"][0] == "PASS"


def test_shared_memory_that_is_static_breaks_a_limit_whatever_a_launch_adds() -> None:
    assert verdicts([UNLAUNCHED], shared_kib=0.5)["shared_kib"] == ("FAIL", 1, "unlaunched")


def test_a_kernel_that_is_known_breaks_a_limit_whatever_others_do() -> None:
    assert verdicts([UNLAUNCHED, GREEDY], blocks_per_sm=4)["blocks_per_sm"] == ("FAIL", 2, "greedy")


def test_local_memory_of_a_kernel_compiled_elsewhere_may_be_spills_or_not() -> None:
    (found,) = judged([limit("spills", 0)], [FOREIGN])
    assert found["verdict"] == "NOT MEASURED"
    assert (
        found["reason"] == "triton_ uses local memory, and only its compiler knows whether registers are spilled to it"
    )


@pytest.mark.parametrize("name", RESOURCES)
def test_without_any_kernel_nothing_is_measured(name: str) -> None:
    assert verdicts([], **{name: 5}) == {name: ("NOT MEASURED", None, "")}
    (found,) = not_judged([limit(name, 5)], "why")
    assert (found["verdict"], found["reason"]) == ("NOT MEASURED", "why")

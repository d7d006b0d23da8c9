"""A space: what is in it, in which order, what is beside what, and what is said of one that makes no sense."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.device_facts import FACTS
from pytest_kgate.search.space.device_facts import device_facts
from pytest_kgate.search.space.device_facts import documented
from pytest_kgate.search.space.space import Space

SPACE = Space(
    macro={"BLOCK_M": (32, 64, 128), "MODE": ("a", "b", "c")},
    micro={"STAGES": (2, 3, 4), "PAD": (0, 8)},
    where=("BLOCK_M * STAGES <= limit", "PAD == 0 or BLOCK_M >= 64"),
    facts={"limit": 256},
)


def of(**knobs: Any) -> Configuration:
    return Configuration.of({"BLOCK_M": 64, "MODE": "b", "STAGES": 3, "PAD": 0, **knobs})


def test_iteration_gives_each_allowed_configuration_once_and_the_last_knob_changes_fastest() -> None:
    found = list(SPACE)
    assert found == list(SPACE)
    assert [one.title for one in found[:2]] == ["BLOCK_M=32,MODE=a,PAD=0,STAGES=2", "BLOCK_M=32,MODE=a,PAD=0,STAGES=3"]
    # 32: 3 stages, no padding; 64: 3 stages, 2 paddings; 128: 2 stages, ...
    assert len(set(found)) == len(found) == SPACE.size == 3 * (3 * 1 + 3 * 2 + 1 * 2)
    assert SPACE.combinations == 54
    assert all(SPACE.refusal(one) is None for one in found)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"BLOCK_M": 128}, "BLOCK_M * STAGES <= limit is false: BLOCK_M=128, STAGES=3, limit=256"),
        ({"BLOCK_M": 48}, "BLOCK_M=48 is not among 32, 64, 128"),
        ({"STAEGS": 2}, "STAEGS is no knob of the space Did you mean 'STAGES'?"),
    ],
)
def test_refusal_names_the_constraint_and_the_values(knobs: Mapping[str, Any], said: str) -> None:
    assert SPACE.refusal(of(**knobs)) == said
    assert SPACE.refusal(Configuration.of({"BLOCK_M": 32})) == "MODE has no value"


def test_neighbours_are_one_micro_step_away_and_allowed() -> None:
    assert set(SPACE.neighbours(of())) == {of(STAGES=2), of(STAGES=4), of(PAD=8)}
    assert set(SPACE.neighbours(of(BLOCK_M=128, STAGES=2))) == {of(BLOCK_M=128, STAGES=2, PAD=8)}
    words = Space(macro={}, micro={"MODE": ("a", "b", "c", "d")})
    assert {one.title for one in words.neighbours(Configuration.of({"MODE": "a"}))} == {"MODE=b", "MODE=c", "MODE=d"}
    assert SPACE.macro_of(of()) == (64, "b")


def test_default_is_the_sources_where_that_is_allowed_and_else_the_first() -> None:
    assert SPACE.default == of(BLOCK_M=32, MODE="a", STAGES=2)
    values: dict[str, Any] = {"macro": {"M": (32, 64)}, "micro": {"S": (2, 3)}}
    assert Space(**values, defaults={"M": 64, "S": 5}).default.title == "M=64,S=2"
    assert Space(**values, where=("M < 64",), defaults={"M": 64}).default.title == "M=32,S=2"
    with pytest.raises(UsageError, match=r"None of the space's 4 combinations .*: M > 64 is false: M=32\."):
        _ = Space(**values, where=("M > 64",)).default


def test_random_configurations_are_spread_evenly_over_those_allowed() -> None:
    rng = random.Random(3)
    counts = Counter(SPACE.random(rng) for _ in range(33 * 60))
    assert set(counts) == set(SPACE)
    assert max(counts.values()) < 2 * 60
    narrow = Space(macro={"A": tuple(range(300))}, micro={"B": tuple(range(300))}, where=("A == 7 and B == 9",))
    assert narrow.random(rng).title == "A=7,B=9"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"macro": {"A": (1, 2)}, "micro": {"A": (1,)}}, "A is in macro and in micro"),
        ({"micro": {"A": ()}}, "A has no values"),
        ({"micro": {"A": (2, 1, 2)}}, "A has the value 2 twice"),
        ({"micro": {"A": (1, True)}}, "A has the value true twice"),
        ({}, "no knobs"),
        ({"micro": {f"K{place}": tuple(range(10)) for place in range(7)}}, "10,000,000 combinations"),
        ({"micro": {"STAGES": (1,)}, "where": ("STAEGS < 3",)}, "names STAEGS, .* Did you mean 'STAGES'?"),
        (
            {"micro": {"A": (1,)}, "where": ("A < smem_byte",), "facts": documented("sm_90a")},
            "Did you mean 'smem_bytes'",
        ),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(what: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Space(**{"macro": {}, "micro": {}, **what})


def test_facts_without_a_gpu_are_the_documented_ones_of_the_architecture() -> None:
    facts = device_facts("sm_90a", None)
    assert set(facts) == set(FACTS)
    assert (facts["smem_bytes"], facts["sm_count"], facts["arch"]) == (227 * 1024, 132, 90)
    assert device_facts("sm_89", None)["smem_bytes"] == 99 * 1024
    with pytest.raises(UsageError, match="sm_999"):
        device_facts("sm_999", None)


@pytest.mark.gpu
def test_facts_of_a_gpu_are_read_from_it() -> None:
    import torch

    facts = device_facts(None, 0)
    found = torch.cuda.get_device_properties(0)
    assert facts["sm_count"] == found.multi_processor_count
    assert facts["arch"] == found.major * 10 + found.minor
    assert {name: type(value) for name, value in facts.items()} == dict.fromkeys(FACTS, int)
    known = documented(f"sm_{facts['arch']}")
    assert (facts["smem_bytes"], facts["registers"]) == (known["smem_bytes"], known["registers"])

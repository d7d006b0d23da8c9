"""Records judged again from their samples: honest ones stand, whatever they are, and no edit of what decides does."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from receipts import RELU
from receipts import raced
from record_schema import demand_valid

from pytest_kgate.bench.race.speed_of_light import kept
from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.document import read
from pytest_kgate.report.record.samples import arm_facts
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.samples import encode_samples
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import SpeedOfLightGate
from pytest_kgate.validation.receipts.judged_again.record import complaints

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

EDITS = 200

BUSY = {"candidate_wait": 0.0, "reference_wait": 0.9, "foreign_cpu": 1.6, "steal": 0.0}
"""The reference may be ten times as fast alone."""


@pytest.fixture(scope="module")
def races(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Records of all ways to be judged, each by its own code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGATE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield _races()


def _races() -> list[Any]:
    identity = kept.identity_of({"device": "fake"})
    rates = MeasuredRates(identity, "2026-11-27T12:00:00+00:00", 1.0, {}, {}, (Rate(512 / 2e-6, 0.0, 2**30),))
    kept.save(rates)
    copies = dataclasses.replace(RELU, bytes=512.0)  # in 2 us
    two = (SpeedGate(0.95), SpeedGate(1.0, quantile=0.9))
    return [
        raced("passes", *two, ratio=0.8),
        raced("passes at its second look", SpeedGate(0.95), ratio=0.93, noise=0.02),
        raced("fails", SpeedGate(0.95, confidence=0.975), ratio=1.2),
        raced("undecided", SpeedGate(0.95), ratio=0.95, noise=0.05),
        raced("undecided, as its budget ended", SpeedGate(0.95), ratio=0.95, noise=0.02, round_seconds=0.4),
        raced("too few rounds", SpeedGate(0.95), ratio=0.95, round_seconds=3.0),
        raced("classic", SpeedGate(0.95, rule="classic"), ratio=0.9),
        raced("several processes", *two, ratio=0.8, processes=3),
        raced("a share of the roofline", light=SpeedOfLightGate(0.2), ratio=0.8, problem=copies),
        raced("that share in processes", light=SpeedOfLightGate(0.4), ratio=0.8, problem=copies, processes=3),
        raced("nothing demanded", ratio=0.9),
        raced("a number of rounds", ratio=0.9, rounds=7),
        raced("a percentile", SpeedGate(0.95), ratio=0.9, percentile=0.8),
        raced("broken samples", SpeedGate(0.95), ratio=0.8, faults={3: float("nan")}),
        raced("disturbed", SpeedGate(0.95), ratio=0.8, evidence=lambda round: BUSY),
    ]


def test_honest_records_of_every_kind_stand(races: list[Any]) -> None:
    verdicts = {record["verdict"] for record in races}
    assert {"PASS", "FAIL", "INCONCLUSIVE", "INVALID"} <= verdicts
    demand_valid(document(races))
    for record in races:
        assert list(complaints(json.loads(json.dumps(record)))) == [], record["test"]


def test_answer_without_a_finite_error_is_recorded_as_it_is(races: list[Any]) -> None:
    record = json.loads(json.dumps(races[0]))
    check = record["correctness"]
    del check["draws"][1:]  # with those of a timed launch whose answer was wrong, there may be any number
    check["draws"][0] |= {"candidate_error": None, "excess": None}
    check |= {"verdict": "FAIL", "reason": "NaN", "failed": "tolerance", "candidate_error": None}
    assert list(complaints(record | {"verdict": "WRONG", "reason": "NaN"})) == []


def test_processes_may_have_drawn_their_own_seeds(races: list[Any]) -> None:
    record = json.loads(json.dumps(next(one for one in races if one["test"] == "several processes")))
    for number, process in enumerate(record["timing"]["processes"]):
        process["seed"] = f"{number:032x}"
    assert list(complaints(record)) == []


@pytest.mark.parametrize("file", ["h100/perf-2026-11-27.json", "h200/perf-2026-11-21.json"])
def test_records_of_gpus_stand_on_another_machine(file: str) -> None:
    """Measured by another NumPy on another processor; those of the second file with another way to draw seeds."""
    records, _ = read(BENCHMARKS / file)
    assert [clause for record in records[::3] for clause in complaints(record)] == []


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values within a value."""
    if isinstance(value, dict | list):
        for name, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*path, name))
    elif value is not None:
        yield path


def deciding(record: Any) -> list[tuple[Any, ...]]:
    """The paths of what decides, and of what is told of it: all of gates and arms but reasons, and much besides."""
    timing = record["timing"]
    found = [path for index, gate in enumerate(record["gates"]) for path in places(gate, ("gates", index))]
    for arm in ("candidate", "reference"):
        found += places({**timing[arm], "samples": timing[arm]["samples"]["data"]}, ("timing", arm))
    found += places(timing["outliers"], ("timing", "outliers"))
    found += [("timing", name) for name in ("rounds", "samples_per_round", "ratio_of_medians", "offset_sd")]
    found += [("verdict",), ("seeds", "race"), *(("limits", n, "value") for n in range(len(record.get("limits", ()))))]
    if "processes" in timing:  # their intervals need no resamples, and the rule has one form
        found = [path for path in found if path != ("seeds", "race") and path[-1] != "rule"]
    check = record["correctness"]
    found += [("correctness", name) for name in ("verdict", "atol", "candidate_error")]
    found += [("correctness", "draws", n, name) for n in range(len(check["draws"])) for name in ("excess",)]
    left_out = ("reason", "kind", "rounds_to_decide")  # nothing is decided by those
    return [path for path in found if path[-1] not in left_out and path[2:3] != ("processes",)]


def edited(record: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    """A copy with another value there, of the same type."""
    changed = copy.deepcopy(record)
    holder = changed
    for name in path[:-1]:
        holder = holder[name]
    if path[-1] == "samples":
        _edit_samples(holder, rng)
        return changed
    old = holder[path[-1]]
    if path[-1] == "verdict":
        new: Any = rng.choice([one for one in ("PASS", "FAIL", "INCONCLUSIVE", "INVALID") if one != old])
    elif path[-1] in ("quantile", "confidence"):
        new = old * rng.uniform(0.5, 0.95)
    elif isinstance(old, bool | str):
        new = {"sequential": "classic", "classic": "sequential"}.get(old, f"{old}x")
    elif isinstance(old, int):
        new = max(0, old + rng.choice([-1, 1, 2])) if old else 1
    else:
        new = old * rng.choice([rng.uniform(0.5, 0.9999), rng.uniform(1.0001, 2)]) if old else 1e-3
    holder[path[-1]] = new
    return changed


def _edit_samples(arm: Any, rng: random.Random) -> None:
    """A single sample; or all of a round, with the arm's digest, medians and percentiles made anew."""
    samples = decode_samples(arm["samples"]).copy()
    factor, row = rng.choice([0.8, 0.99, 1.01, 1.3]), rng.randrange(len(samples))
    if rng.random() < 0.5:
        samples[row, rng.randrange(samples.shape[1])] *= factor
        arm["samples"] = {**encode_samples(samples), "digest": arm["samples"]["digest"]}
    else:
        samples[row] *= factor
        arm |= arm_facts(samples)


def test_no_random_edit_of_what_decides_stands(races: list[Any]) -> None:
    rng = random.Random(20261127)
    records = [one for one in races if any(gate["ratio"] and gate["verdict"] != "INVALID" for gate in one["gates"])]
    weights = [1 / record["timing"]["rounds"] for record in records]  # to judge long races takes long
    survived = []
    for record in rng.choices(records, weights, k=EDITS):
        # Of the hundreds of numbers of a race, each kind is edited as often as each other.
        kinds: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for path in deciding(record):
            kinds.setdefault((path[0], path[-1]), []).append(path)
        path = rng.choice(kinds[rng.choice(sorted(kinds))])
        one = edited(record, path, rng)
        if one != record and next(complaints(one), None) is None:
            survived.append((record["test"], path))
    assert survived == []

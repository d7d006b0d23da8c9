"""The evaluator of real searches, before answers that child processes could have given."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from search_records import record

from pytest_kgate.build.compiler.ninja import BuildResult
from pytest_kgate.build.compiler.ptxas import Resources
from pytest_kgate.errors import BuildError
from pytest_kgate.search.running.builds.ahead import BuildsAhead
from pytest_kgate.search.running.builds.foresee import Build
from pytest_kgate.search.running.child.order import Answered
from pytest_kgate.search.running.child.order import Order
from pytest_kgate.search.running.evaluator import ChildEvaluator
from pytest_kgate.search.running.evaluator import Seen
from pytest_kgate.search.running.groups import Groups
from pytest_kgate.search.running.judge import Judge
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.search.space.space import Space

TILES = (1, 2, 3, 4, 5, 6)
SPACE = Space({}, {"TILE": TILES}, ("TILE < 6",), {"smem_bytes": 4096})


HOW = {"arch": None, "debug": False, "confined_seconds": None}


def one(tile: int) -> Configuration:
    return Configuration.of({"TILE": tile})


def answer(*tiles: int, verdict: str = "MEASURED", feedback: str = "", waited: float = 0.0) -> Answered:
    """Of a session in which these were raced, of which `TILE` is the ratio in tenths."""
    records = [
        record(tile / 10, f"t.py::test_it[1x2-TILE={tile}]", asked={"knobs": {"TILE": {"value": tile, "source": ""}}})
        for tile in tiles
    ]
    builds = [{"source": "mine.cu", "knobs": {"TILE": tile}, **HOW} for tile in tiles]
    found = {"verdict": verdict, "records": records, "feedback": feedback, "passed": True, "builds": builds}
    return Answered(found, waited_seconds=waited)


class Pool:
    """Answers orders as it is told, and keeps them."""

    def __init__(self, reply: Callable[[list[int]], Answered], jobs: int = 1) -> None:
        self.jobs = jobs
        self.asked: list[list[int]] = []
        self._reply = reply
        self._lock = threading.Lock()

    def run(self, order: Order) -> Answered:
        if order.files:
            tiles = [knobs["TILE"] for knobs in json.loads(order.files[0][1])]
        else:
            tiles = [int(text.rpartition("=")[2]) for text in order.arguments if "--kgate-knob" in text]
        with self._lock:
            self.asked.append(tiles)
        return self._reply(tiles)

    def close(self) -> None:
        pass


def built(build: Build) -> Any:
    tile = dict(build.knobs)["TILE"]
    if tile == 3:
        return BuildError("mine(TILE=3) does not compile: no", "")
    used = Resources("k", 64, 8192 if tile == 4 else 1024, 0, 0, 16 if tile == 5 else 0, "sm_90a")
    return BuildResult("mine.so", "", (), "sm_90a", (used,), 4.0, False, "nvcc", "")  # type: ignore[arg-type]


def evaluator(pool: Pool, **more: Any) -> ChildEvaluator:
    seen = Seen(one(1), (Build("mine.cu", (("TILE", 1),), "sm_90a", False),))
    ahead = BuildsAhead(2, built)
    return ChildEvaluator(Judge("t.py", "."), SPACE, pool, ahead, seen, **{"names": ["1x2"], "quiet": False, **more})


def test_what_its_build_rules_out_never_comes_to_a_race():
    pool = Pool(lambda tiles: answer(*tiles))
    found = {tile: evaluator(pool).screen(one(tile), 12) for tile in (3, 4, 5, 6)}
    assert {tile: trial.state for tile, trial in found.items()} == {
        3: "unbuildable",
        4: "refused",
        5: "spills",
        6: "refused",
    }
    assert "8192 bytes of shared memory a block, of 4096" in found[4].reason
    assert "spills 16 bytes" in found[5].reason
    assert found[5].resources == {"registers": 64, "shared_bytes": 1024, "spill_bytes": 16}
    assert "TILE < 6" in found[6].reason
    assert pool.asked == []
    assert evaluator(pool, spill_bytes=16).screen(one(5), 12).raced


def test_announced_candidates_share_a_process_and_each_is_asked_for_once():
    pool = Pool(lambda tiles: answer(*tiles))
    search = evaluator(pool)
    search.build([one(tile) for tile in TILES])
    trials = [search.screen(one(tile), 12) for tile in TILES]
    assert pool.asked == [[1, 2]]
    assert [(trial.state, trial.joint) for trial in trials[:2]] == [("raced", False)] * 2
    assert list(trials[1].estimates) == ["1x2"]
    assert search.screen(one(2), 12).raced  # again, as after a crash: by itself
    assert pool.asked == [[1, 2], [2]]


@pytest.mark.parametrize(
    "lost", [Answered(None, "ended by SIGSEGV"), answer(1, verdict="ERROR", feedback="it crashed")]
)
def test_what_does_not_end_well_beside_others_is_evaluated_by_itself(lost):
    pool = Pool(lambda tiles: lost if len(tiles) > 1 else answer(*tiles))
    search = evaluator(pool)
    search.build([one(1), one(2)])
    assert [search.screen(one(tile), 12).state for tile in (1, 2)] == ["raced", "raced"]
    assert pool.asked == ([[1, 2], [1], [2]] if lost.answer is None else [[1, 2], [2]])


def test_who_asks_at_the_same_time_finds_candidates_left():
    groups = Groups(2)
    groups.announce([one(tile) for tile in TILES])
    first = groups.take(one(1), 12)
    second = groups.take(one(2), 12)
    assert (first, second) == ([one(1), one(3), one(5)], [one(2), one(4), one(6)])
    assert groups.take(one(3), 12) is None
    groups.give(first, 12, [None] * 3)
    assert groups.found(one(3), 12) is None
    alone = Groups(together=False)
    alone.announce([one(1), one(2)])
    assert alone.take(one(1), 12) == [one(1)]


def test_groups_that_take_too_long_are_dissolved():
    pool = Pool(lambda tiles: Answered(None, "too long", killed=True) if len(tiles) > 1 else answer(*tiles))
    search = evaluator(pool, spill_bytes=16)
    search.build([one(1), one(2)])
    search.screen(one(1), 12)
    search.build([one(5), one(1)])
    search.screen(one(5), 12)
    assert pool.asked == [[1, 2], [1], [5]]


def test_test_that_builds_something_else_is_no_longer_foreseen():
    other = [{"source": "other.cu", "knobs": {"TILE": 1}, **HOW}]
    made: list[int] = []
    pool = Pool(lambda tiles: Answered({**(answer(*tiles).answer or {}), "builds": other}))
    search = evaluator(pool)
    search._ahead = BuildsAhead(1, lambda build: made.append(dict(build.knobs)["TILE"]) or built(build))
    assert search.screen(one(1), 12).raced
    assert search.screen(one(3), 12).raced  # not held against it that another source does not compile
    assert made == [1]


def test_waiting_for_the_device_is_shared_by_all_jobs():
    search = evaluator(Pool(lambda tiles: answer(*tiles, waited=6.0), jobs=2))
    search.screen(one(1), 12)
    search.confirm(one(1), 0.0125, 5)
    assert search.waited_seconds == 6.0


def test_orders_say_what_a_stage_needs_and_confirmations_have_seeds_of_their_own():
    judge = Judge("t.py::test", "/here", ("--kgate-device=host",), 50.0)
    assert judge.screen(one(2), 12).arguments == (
        "--test=t.py::test",
        "--rounds=12",
        "--pytest=--kgate-device=host",
        "--pytest=--kgate-knob=TILE=2",
    )
    first, second = (judge.confirm(one(2), 0.0125, 5).arguments for _ in range(2))
    assert {"--pytest=--kgate-confidence=0.975", "--pytest=--kgate-processes=5"} <= {*first}
    seeds = {text for text in (*first, *second) if "--kgate-seed" in text}
    assert len(seeds) == 2

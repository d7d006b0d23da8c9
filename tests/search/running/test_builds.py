"""Builds ahead of the timer: which ones, as many at once as there are spare cores, none while a race wants silence."""

from __future__ import annotations

import threading
import time

import pytest

from pytest_kgate.build.compiler.ninja import BuildResult
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import UsageError
from pytest_kgate.search.running.builds import ahead
from pytest_kgate.search.running.builds.ahead import BuildsAhead
from pytest_kgate.search.running.builds.ahead import compile_one
from pytest_kgate.search.running.builds.foresee import Build
from pytest_kgate.search.running.builds.foresee import foresee
from pytest_kgate.search.space.configuration import Configuration

SEEN = Configuration.of({"TILE": 64, "STAGES": 2, "MODE": "fast", "WIDE": True})


def build(**knobs: int) -> Build:
    return Build("mine.cu", tuple(sorted(knobs.items())), None, False)


def test_constants_follow_the_knobs_that_they_were_and_others_stay():
    wanted = Configuration.of({"TILE": 32, "STAGES": 3, "MODE": "slow", "WIDE": False})
    seen = [build(TILE=64, PAD=8), build(TILE=64, STAGES=4, WIDE=1), build(TILE=64, PAD=8)]
    assert foresee(SEEN, seen, wanted) == [build(TILE=32, PAD=8), build(TILE=32, STAGES=4, WIDE=0)]


def test_build_is_made_once_whoever_asks_for_it_and_how_often():
    made = []
    builds = BuildsAhead(2, lambda one: made.append(one) or BuildError("mine.cu does not compile", ""))
    builds.want([build(TILE=1), build(TILE=2)])
    builds.want([build(TILE=1)])
    assert builds.get(build(TILE=1)).outcome is builds.get(build(TILE=1)).outcome
    assert builds.get(build(TILE=2)).outcome.what == "mine.cu does not compile"
    builds.close()
    assert sorted(one.knobs for one in made) == [(("TILE", 1),), (("TILE", 2),)]


def test_no_compiler_runs_in_a_pause_and_none_is_lost():
    began, may_end, running, most = threading.Semaphore(0), threading.Semaphore(0), set(), []

    def compiled(one: Build) -> BuildError:
        running.add(one)
        began.release()
        may_end.acquire()
        running.remove(one)
        return BuildError(str(one.knobs), "")

    builds = BuildsAhead(1, compiled)
    builds.want([build(TILE=1), build(TILE=2)])
    began.acquire()

    def end_once_paused() -> None:
        while not builds._pauses:
            time.sleep(0.001)
        may_end.release()

    threading.Thread(target=end_once_paused).start()
    with builds.paused():  # waits for the first one's end
        assert not running
        most.append(began.acquire(blocking=False))
    may_end.release()
    assert "2" in builds.get(build(TILE=2)).outcome.what
    assert most == [False]
    builds.close()


def test_search_that_ends_in_a_pause_does_not_wait_for_builds():
    builds = BuildsAhead(1, lambda one: pytest.fail("it was built"))
    with builds.paused():
        builds.want([build(TILE=1), build(TILE=2)])
        builds.close()


def test_spare_cores_are_all_but_two_and_at_least_one(monkeypatch):
    for cores, spare in ((1, 1), (2, 1), (3, 1), (16, 14)):
        monkeypatch.setattr(ahead.os, "sched_getaffinity", lambda _, cores=cores: range(cores))
        assert ahead.spare_cores() == spare


def test_every_build_has_an_outcome(tmp_path, monkeypatch):
    assert isinstance(compile_one(Build(str(tmp_path / "none.cu"), (), None, False)), UsageError)

    monkeypatch.setattr(ahead, "prepare", lambda *_, **__: 1 / 0)
    broken = compile_one(build())
    assert isinstance(broken, BuildError)
    assert "ZeroDivisionError" in broken.what
    assert not isinstance(broken, BuildResult)


def test_source_that_is_not_trusted_is_compiled_ahead_as_it_is_in_its_test(tmp_path):
    (tmp_path / "private.h").write_text("planted\n")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "mine.cpp").write_text('#include "../private.h"\n')
    refused = compile_one(Build(str(tmp_path / "theirs" / "mine.cpp"), (), None, False, confined_seconds=60.0))
    assert isinstance(refused, BuildError)
    assert "private.h, which a source that is not trusted may not" in refused.what

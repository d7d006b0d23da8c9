"""Which tests share a process below ncu, and when one has a process of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_kgate.profile.nsight.collection import marker
from pytest_kgate.profile.nsight.collection.collect import Collection
from pytest_kgate.profile.nsight.collection.collect import CountedCall
from pytest_kgate.profile.nsight.collection.collect import CountedTest
from pytest_kgate.profile.nsight.collection.facts import facts_of
from pytest_kgate.profile.under_tool.session import ToolSession

LAUNCH = {"kernel": "k", "grid": [1, 1, 1], "block": [1, 1, 1], "metrics": {"gpu__time_duration.sum": 1e-6}}


class Children:
    """In the place of `collect`: notes what it was asked for, and counts the references that it is told to."""

    def __init__(self, references=("flash",), gpu="GPU-1"):
        self.asked = []
        self.references = references
        self.gpu = gpu

    def __call__(self, tests, how):
        self.asked.append(([test.rpartition("::")[2] for test in tests], how))
        named = {name for calls in how.references.values() for name in calls.values()}
        arms = [("candidate", None), *(("reference", name) for name in {*self.references, *named})]
        calls = tuple(CountedCall(0, arm, backend, self.gpu, (LAUNCH,), (0,)) for arm, backend in arms)
        names = (test.rpartition("/")[2] for test in tests)
        return {name: CountedTest(name, "", calls, 3.0, how.report) for name in names}


@pytest.fixture
def session(monkeypatch, tmp_path):
    """Four tests, the last of which wants cold caches; `run(name, backend)`: the counters after the race of one."""
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))
    children = Children()
    monkeypatch.setattr(marker, "collect", lambda tests, how: children(tests, how))
    monkeypatch.setattr(marker, "find_program", lambda name: Path("/ncu"))
    monkeypatch.setattr(marker.refusals, "denied", lambda: None)
    monkeypatch.setattr(marker, "arguments_like", lambda config: ())
    monkeypatch.setattr(Collection, "tool", "ncu 1")
    config = SimpleNamespace(stash=pytest.Stash(), invocation_params=SimpleNamespace(dir=tmp_path))
    items = [
        SimpleNamespace(nodeid=f"test_it.py::{name}", path=tmp_path / "test_it.py", config=config) for name in "abcd"
    ]
    wanted = dict(zip((one.nodeid for one in items), ["none", "none", "none", "all"], strict=True))
    for one in items:
        one.session = SimpleNamespace(items=items)

    def run(name, backend="flash", keep=None, gpu="GPU-1"):
        (item,) = (one for one in items if one.nodeid.endswith(f"::{name}"))
        record = {
            "call": 0,
            "reference": {"backend": backend},
            "environment": {"gpu": {"uuid": gpu, "capability": "9.0"}},
        }
        return marker.counters_of(
            item,
            record,
            marker.Wanted(wanted[item.nodeid], ()),
            lambda one: marker.Wanted(wanted[one.nodeid], ()) if one.nodeid[-1] != "c" else None,
            marker.Settings(60.0, None, False, "fastest", keep),
            SimpleNamespace(kind="cuda", torch_device="cuda:1"),
            SimpleNamespace(waiting=print, notice=print),
        )

    return SimpleNamespace(run=run, children=children, config=config)


def test_tests_that_want_the_same_share_a_process_and_a_cold_one_has_its_own(session):
    assert session.run("a")["state"] == session.run("b")["state"] == "measured"
    cold = session.run("d")
    assert (cold["state"], cold["cache_control"]) == ("measured", "all")
    assert [tests for tests, _ in session.children.asked] == [["a", "b"], ["d"]]
    (_, how), _ = session.children.asked
    assert isinstance(how.session, ToolSession)
    assert how.session.timeout_seconds > 60.0, "two tests may take longer than one"
    assert how.session.environment["KGATE_DEVICE"] == "cuda:1", "the GPU of the race"


def test_a_worker_of_xdist_counts_its_own_test_alone(session):
    session.config.workerinput = {}
    session.run("b")
    session.run("a")
    assert [tests for tests, _ in session.children.asked] == [["b"], ["a"]]


def test_the_reference_that_has_raced_is_counted_where_it_was_not_among_the_likely_ones(session):
    assert session.run("a", backend="flash")["reference"] is not None
    assert session.run("b", backend="efficient")["reference"] is not None
    assert [tests for tests, _ in session.children.asked] == [["a", "b"], ["b"]]
    assert session.children.asked[1][1].references == {"test_it.py::b": {"0": "efficient"}}


def test_counters_of_another_gpu_are_none_of_this_race(session):
    counters = session.run("a", gpu="GPU-2")
    assert (counters["state"], counters["candidate"]) == ("not measured", None)
    assert "ncu watched GPU GPU-1, and the race was on GPU-2" in counters["reason"]


def test_a_call_that_was_not_made_below_ncu_says_what_came_before_it(session):
    failed = CountedTest("test_it.py::a", "", (), 3.0, None, failure="AssertionError: only with a race")
    how = Collection(Path("/ncu"), (), ToolSession(Path()))
    assert "it failed with: AssertionError: only with a race" in facts_of(failed, None, None, how, "sm_90")["reason"]


def test_a_kept_report_is_named_after_the_first_test(session, tmp_path):
    counters = session.run("a", keep=tmp_path / "new" / "folder")
    assert counters["report"] == str(tmp_path / "new" / "folder" / "test_it-a-and-1-more.ncu-rep")


def test_an_isolated_candidate_is_not_run_outside_of_its_process():
    counters = marker.of_isolated("none")
    assert counters["state"] == "not measured"
    assert "without --kgate-isolate" in counters["reason"]

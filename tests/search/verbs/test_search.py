"""`kgate search`, `kgate leaderboard` and `kgate confirm` on a real kernel of the host, with real builds and races."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sample_records import speed_record

from pytest_kgate import cli
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation.process.judge.guard import children
from pytest_kgate.search.journal.file import read
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.prompts.replies.reply import read_reply
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import configuration_of
from pytest_kgate.search.prompts.replies.stored import folder_of
from pytest_kgate.search.running.child.order import Answered
from pytest_kgate.search.running.child.order import Order
from pytest_kgate.search.running.executors.local import LocalPool
from pytest_kgate.search.running.subject import environment_of
from pytest_kgate.search.space.space import Space
from pytest_kgate.search.verbs.confirm import candidate_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="`kgate evaluate` needs Linux")

TEST = """
import pytest
from pytest_kgate import Shape

@pytest.mark.search(
    macro={"VARIANT": [0, 1, 2]}, micro={"REPEATS": [40, 1]}, where=["VARIANT == 0 or REPEATS == 40"]
)
@pytest.mark.allclose(1e-4)
@pytest.mark.speedup(1000.0)
def test_mine(kbench, sdpa_oracle, kernels, knobs):
    kbench(kernels("mine.cpp", **knobs), sdpa_oracle(Shape(1, 1, 16, 8), "float32"))

@pytest.mark.search(micro={"REPEATS": [40, 1]})
def test_that_demands_no_speed(kbench, sdpa_oracle, kernels, knobs):
    kbench(kernels("mine.cpp", **knobs), sdpa_oracle(Shape(1, 1, 16, 8), "float32"))

@pytest.mark.search(micro={"REPEATS": [40, 1]})
@pytest.mark.speedup(1000.0)
def test_that_forgets_its_knobs(kbench, sdpa_oracle, kernels, knobs):
    kbench(kernels("mine.cpp"), sdpa_oracle(Shape(1, 1, 16, 8), "float32"))

def test_without_a_marker(kbench, sdpa_oracle, kernels):
    kbench(kernels("mine.cpp"), sdpa_oracle(Shape(1, 1, 16, 8), "float32"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: str, build_cache: Path) -> Path:
    (tmp_path / "test_mine.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    shutil.copy(Path(__file__).with_name("mine.cpp"), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGATE_DEVICE", "host")
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))
    monkeypatch.setenv("KGATE_INTEGRITY", "off")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "search.jsonl").read_text().splitlines()]


def test_search_from_detuned_defaults_finds_confirms_and_records_the_fast_one(folder, capfd):
    before = children()
    arguments = ["search", "test_mine.py::test_mine", "--budget", "10m", "--processes", "1", "--width", "80"]
    assert cli.main(arguments) == 0
    said = capfd.readouterr()
    assert "4 configurations, strategy grid, seed " in said.err
    assert ", budget 10 min " in " ".join(said.err.split())
    assert "confirming REPEATS=1,VARIANT=0 in 1 fresh process" in said.err
    assert "2 of 4 candidates raced; 1 did not compile, 1 wrong." in said.out
    assert "Champion: REPEATS=1,VARIANT=0" in said.out
    assert max(map(len, said.out.splitlines()[:8])) <= 80
    assert children() <= before

    (champion,) = json.loads((folder / "kgate-champions.json").read_text())["champions"]
    assert (champion["test"], champion["source"]) == ("test_mine.py::test_mine", "mine.cpp")
    assert (champion["knobs"], champion["alpha"]) == ({"REPEATS": 1, "VARIANT": 0}, 0.0125)
    outcomes = [one["trials"][0] for one in events(folder) if one["event"] == "outcome" and len(one["ids"]) == 1]
    reasons = {one["knobs"]["VARIANT"]: one for one in outcomes if one["state"] != "raced"}
    assert "VARIANT must be 0 or 1" in reasons[2]["reason"]
    assert (reasons[1]["state"], reasons[2]["state"]) == ("wrong", "unbuildable")

    (together,) = (one["trials"] for one in events(folder) if one["event"] == "outcome" and len(one["ids"]) > 1)
    assert [(one["state"], one["joint"], list(one["estimates"])) for one in together] == [
        ("raced", True, ["test_mine"]),
        ("raced", True, ["test_mine"]),
    ]

    # What it found is what a plain run takes, and nothing is evaluated again.
    assert cli.main(["evaluate", "--test", "test_mine.py::test_mine", "--until", "build", "--json", "-"]) == 0
    assert json.loads(capfd.readouterr().out)["builds"][0]["knobs"] == {"REPEATS": 1, "VARIANT": 0}
    evaluated = sum(one["event"] == "started" for one in events(folder))
    assert cli.main([*arguments, "--resume"]) == 0
    assert sum(one["event"] == "started" for one in events(folder)) == evaluated
    assert "Champion: REPEATS=1,VARIANT=0" in capfd.readouterr().out

    assert cli.main(["leaderboard", "search.jsonl", "--t4", "t4.json", "--width", "80"]) == 0
    assert "champion" in capfd.readouterr().out
    assert len(json.loads((folder / "t4.json").read_text())["results"]) == 4
    assert cli.main(["confirm", "search.jsonl"]) == 2
    assert "has a champion" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("test", "more", "said"),
    [
        ("test_mine.py::test_without_a_marker", (), "does not take its knobs from a search marker"),
        ("test_mine.py::test_nothing", (), "There is no test test_mine.py::test_nothing."),
        ("test_mine.py::test_that_forgets_its_knobs", (), 'Hand its knobs on: kernels("mine.cpp", **knobs)'),
        ("test_mine.py::test_that_demands_no_speed", (), "demands speed, so that nothing could be confirmed"),
        ("test_mine.py::test_mine", ("--executor", "slurm"), "There is no executor 'slurm'"),
    ],
)
def test_search_that_makes_no_sense_says_why_before_the_first_candidate(folder, capfd, test, more, said):
    assert cli.main(["search", test, *more]) == 2
    assert said in capfd.readouterr().err
    assert not (folder / "search.jsonl").exists()


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ("STAGES=17", "STAGES=17 is not among 2, 3"),
        ("STAGES=2 NOPE=1", "NOPE is no knob of the space"),
        ("STAGES", "sets no knobs"),
    ],
)
def test_what_is_no_candidate_of_the_search_is_not_confirmed_nor_paid_for(knobs, said):
    journal = Journal(Head("test_it.py::test_it", "grid", 1), Scope())
    options = argparse.Namespace(knobs=knobs, journal=Path("search.jsonl"))
    with pytest.raises(UsageError, match=said):
        candidate_of(options, journal, Space({}, {"STAGES": (2, 3)}))


FIRST = {
    "verdict": "MEASURED",
    "passed": True,
    "feedback": "",
    "builds": [],
    "speed_gates": [1],
    "searches": [
        {"macro": {}, "micro": {"STAGES": [2, 3, 4, 5]}, "where": [], "facts": {}, "defaults": {}, "root": "."}
    ],
    "records": [
        {
            "test": "test_it.py::test_it",
            "call": 0,
            "asked": {"knobs": {"STAGES": {"value": 2, "source": "first value"}}},
            "candidate": {"implementation": None, "flags": [], "arch": None, "resources": []},
            "environment": {"device": "host", "cpu": {"model": "some CPU"}},
        }
    ],
}
"""What a run of the test up to its builds has told."""


def test_another_source_of_a_provider_is_confirmed_and_pays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    replies = Replies(folder_of(Path("search.jsonl")))
    answers = ("```\nint a;\n```", "```\nint b;\n```", "I have no idea.")
    made = [replies.add(read_reply(answer, ".cu", None), answer) for answer in answers]
    asked = {"argument": "test_it.py::test_it", "pytest": [], "time_limit": 300.0, "entry": "candidate"}
    scope = Scope("", (), "host", environment_of(speed_record()["environment"]))
    journal = Journal.open(Path("search.jsonl"), Head("test_it.py::test_it", "provider", 0, {}, asked), scope)
    for reply, log_ratio in zip(made[:2], (-0.2, -0.1), strict=True):
        one = configuration_of(reply)
        trial = Trial(one, "raced", objective=Estimate(log_ratio, 0.01, 11, 12), source=reply.id)
        journal.outcome(journal.key([one], 12), [trial])
    journal.close()
    record = {**speed_record("test_it.py::test_it", ratio=0.8), "asked": {}}
    orders: list[Order] = []

    def run(_: LocalPool, order: Order) -> Answered:
        orders.append(order)
        return Answered(
            {"passed": record["verdict"] == "PASS", "feedback": "", "records": [record], "speed_gates": [1]}
        )

    monkeypatch.setattr(LocalPool, "run", run)
    assert cli.main(["confirm", "search.jsonl", "--knobs", "source=nothing"]) == 2
    assert "there is no source of source=nothing" in capsys.readouterr().err
    assert cli.main(["confirm", "search.jsonl", "--knobs", f'source="{made[2].id}"']) == 2
    orders.clear()
    capsys.readouterr()
    assert cli.main(["confirm", "search.jsonl", "--processes", "1"]) == 0
    said = capsys.readouterr()
    assert "at an error rate of 1.25 %" in said.err
    assert f"The champion is search.replies/{made[0].id}.cu." in said.out
    own, fresh = (order.arguments for order in orders)
    assert own == ("--test=test_it.py::test_it",)
    assert fresh[:2] == (str(tmp_path / "search.replies" / f"{made[0].id}.cu"), "--isolate")
    assert "--pytest=--kgate-confidence=0.975" in fresh

    # A champion stays one; what this confirmation came to is told below it.
    record = {**speed_record("test_it.py::test_it", ratio=1.2), "asked": {}}
    assert cli.main(["confirm", "search.jsonl", "--processes", "1", "--knobs", f'source="{made[1].id}"']) == 1
    told = capsys.readouterr().out
    assert f"Champion: source={made[0].id}" in told
    assert f"source={made[1].id} was not confirmed this time: the ratio is" in " ".join(told.split())
    assert all(len(line) <= 100 for line in told.splitlines())

    lines = Path("search.jsonl").read_text().splitlines(keepends=True)
    Path("search.jsonl").write_text(lines[0].replace('"time_limit"', '"time"') + "".join(lines[1:]))
    assert cli.main(["confirm", "search.jsonl"]) == 2
    assert "search.jsonl does not say with which 'time_limit' it was made" in capsys.readouterr().err


def test_interrupted_search_loses_nothing_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first.json").write_text(json.dumps(FIRST))
    program = tmp_path / "python"  # stands in for `kgate evaluate`: it hangs in the first candidate
    program.write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        'case "$*" in *--until=build*) cp first.json ${last#--json=} ;; *) exec sleep 600 ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    before = children()

    started = threading.Semaphore(0)
    add = LocalPool._add

    def added(pool: LocalPool, child: Any) -> None:
        add(pool, child)
        started.release()

    monkeypatch.setattr(LocalPool, "_add", added)

    def interrupt() -> None:
        started.acquire()  # the one that has told what there is to search
        started.acquire()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    assert cli.main(["search", "test_it.py::test_it", "--strategy=grid", "--seed=1"]) == 130
    said = capfd.readouterr().out
    assert "No candidate has been evaluated yet." in said
    assert "--resume goes on" in said
    assert children() <= before
    history = History.of(read(tmp_path / "search.jsonl"))
    assert (history.attempts and all(not one for one in history.attempts.values()), history.paid) == (True, [])
    assert history.ended == "it was interrupted"

"""A search's journal: killed anywhere, taken up again, read by others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted_search import HEAD
from scripted_search import SPACE
from scripted_search import Scripted
from scripted_search import searched

from pytest_kgate.errors import UsageError
from pytest_kgate.search.board.said import board
from pytest_kgate.search.course.course import Result
from pytest_kgate.search.course.limits import Budget
from pytest_kgate.search.course.limits import Policy
from pytest_kgate.search.journal.file import read
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration

SCOPE = Scope("source", ("-O3",), "sm_90a", {"driver": "580"})


class Killed(BaseException):
    """The end of a process, which no code of it sees."""


def events(path: Path) -> list[dict[str, Any]]:
    return [dict(event) for event in read(path)]


def found(result: Result) -> tuple[Any, ...]:
    """What a search came to, without what differs from process to process."""
    return result.champion, result.elites, result.trials


def test_killed_at_any_byte_it_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a thousand journals would wait for the disk
    path, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    short = {"name": "random", "budget": Budget(evaluations=2)}
    whole = searched(Scripted(), path, **short)
    assert whole.champion is not None
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    whole_events = read(path)
    paid = next(number for number, line in enumerate(lines) if b"alpha spent" in line)
    # The last two lines of the whole file, and of one that ends where a confirmation has just been paid for.
    for end in (len(lines), paid + 1):
        start, last, stop = (sum(map(len, lines[:number])) for number in (end - 2, end - 1, end))
        for length in range(start, stop + 1):
            cut.write_bytes(content[:length])
            complete = end - 2 + (length >= last) + (length >= stop)
            assert read(cut) == whole_events[:complete]
            if length not in (start, start + 1, last - 1, last, (last + stop) // 2, stop - 1, stop):
                continue  # a search is the same wherever a line is torn
            again = Scripted()
            result = searched(again, cut, resume=True, **short)
            assert (result.elites, result.trials) == (whole.elites, whole.trials)
            assert result.champion is not None
            assert result.champion.configuration == whole.champion.configuration
            # Made again is what was not written down: the joint race, the confirmation.
            assert [what for what, _, _ in again.calls] in ([], ["confirm"], ["joint", "confirm"])
            assert cut.read_bytes().startswith(b"".join(lines[:complete]))
            names = [event["event"] for event in events(cut)]
            assert names.count("champion") == 1
            # A confirmation that was begun, and not written down, was paid for: the next one pays half.
            confirmed = any(b'"confirmation"' in line for line in lines[:complete])
            assert names.count("alpha spent") == (2 if complete > paid and not confirmed else 1)


def test_killed_during_an_evaluation_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    calls = Scripted()
    whole = searched(calls)
    for number in (1, 15, len(calls.calls) - 1):
        path = tmp_path / f"{number}.jsonl"
        before: list[str] = []

        def kill(what: str, _: object, before: list[str] = before, at: int = number) -> None:
            before.append(what)
            if len(before) == at:
                raise Killed

        with pytest.raises(Killed):
            searched(Scripted(before=kill), path)
        after = Scripted()
        assert found(searched(after, path, resume=True)) == found(whole)
        assert len(before) - 1 + len(after.calls) == len(calls.calls)


def test_what_ends_the_search_twice_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    target = SPACE.default

    def kill(what: str, configurations: Sequence[Configuration]) -> None:
        if target in configurations:
            raise SystemExit

    for attempt in (1, 2):
        # As if the process had been killed: what an orderly end would have written is taken out.
        with pytest.raises(SystemExit):
            searched(Scripted(before=kill), path, resume=attempt > 1)
        kept = [line for line in path.read_text().splitlines(keepends=True) if '"interrupted"' not in line]
        path.write_text("".join(kept))
    result = searched(Scripted(before=kill), path, resume=True)
    (quarantined,) = [trial for trial in result.trials if trial.configuration == target]
    assert (quarantined.state, "2 times" in quarantined.reason) == ("crash", True)
    assert len(result.trials) == 20
    assert result.champion is not None


def test_an_interruption_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"

    def interrupt(what: str, configurations: Sequence[Configuration]) -> None:
        if SPACE.default in configurations:
            raise KeyboardInterrupt

    for attempt in range(4):
        policy = Policy(width=1 + attempt % 2)
        searched(Scripted(before=interrupt), path, resume=attempt > 0, policy=policy)
    result = searched(Scripted(), path, resume=True)
    assert {trial.state for trial in result.trials} == {"raced"}


def test_elsewhere_outcomes_are_measured_anew_and_what_was_paid_stays_paid(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    first = searched(Scripted(passes=lambda one: False), path)
    assert first.champion is None
    again = Scripted(passes=lambda one: False)
    assert searched(again, path, resume=True).alpha_spent == 0.0125
    assert again.calls == []
    elsewhere = Scripted()
    result = searched(elsewhere, path, resume=True, scope=replace(SCOPE, environment={"driver": "590"}))
    assert len(elsewhere.calls) > 20
    assert result.champion is not None
    assert (result.champion.alpha, result.alpha_spent) == (0.00625, pytest.approx(0.01875))
    journal = Journal.open(path, HEAD, SCOPE, resume=True)
    assert "driver is 580, was 590" in journal.notices[0]
    assert journal.champion is None
    journal.close()
    journal = Journal.open(path, HEAD, replace(SCOPE, source="f" * 64), resume=True)
    assert "search was: the source or a header of it has changed. Outcomes" in journal.notices[0]
    journal.close()


def test_a_reader_finds_all_that_a_search_knows(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    result = searched(Scripted(states={SPACE.default: "spills"}), path)
    history = History.of(read(path))
    assert history.trials() == list(result.trials)
    assert (history.champion, history.alpha_spent, history.ended) == (
        result.champion,
        result.alpha_spent,
        result.stopped,
    )
    assert (history.head["test"], history.head["seed"]) == (HEAD.test, HEAD.seed)
    together = {one.configuration: one.objective for one in result.raced_together}
    estimates = {one.configuration: one.objective for one in history.standings()}
    assert len(together) == 4
    assert estimates == {**{one.configuration: one.objective for one in result.trials}, **together}
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # a mark that some editors put there
    later = [*read(path), {"event": "of a later version", "time": "now"}]
    assert History.of(later).trials() == list(result.trials)


def test_what_is_no_journal_of_this_search_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    held = Journal.open(path, HEAD, SCOPE)
    with pytest.raises(UsageError, match="Another search is writing"):
        Journal.open(path, HEAD, SCOPE, resume=True)
    held.close()
    with pytest.raises(UsageError, match="holds a search already"):
        Journal.open(path, HEAD, SCOPE)
    with pytest.raises(UsageError, match=r"for test_mine.py::test_mine, not for test_other.py"):
        Journal.open(path, Head("test_other.py::test", "grid", 1), SCOPE, resume=True)
    whole = path.read_text()
    later = whole.replace('"version": 1', '"version": 2')
    for text, message in (
        ("notes of mine\n", "holds no search"),
        ("notes of mine", "holds no search"),
        ('{"event": "x"}\n', "holds no search"),
        (whole + "\n" + whole, "Line 2 of"),
        (later, "version 2"),
        (whole.replace('"event": "search"', '"event": "x"'), "holds no search"),
        (whole.replace('"seed": 1', '"seed": NaN') + whole, "Line 1 of"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            Journal.open(path, HEAD, SCOPE, resume=True)
        assert path.read_text() == text
    # A search that was killed before its first line was whole has not begun.
    for length in (0, 1, 10, 100, len(whole) - 1):
        path.write_text(whole[:length])
        assert searched(Scripted(), path, name="random", budget=Budget(evaluations=1)).champion is not None


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("search", {"scope": None}),
        ("outcome", {"trials": []}),
        ("outcome", {"trials": "none"}),
        ("outcome", {"ids": 5}),
        ("outcome", {"trials": [{"knobs": [1], "state": "raced"}]}),
        ("outcome", {"trials": [{"knobs": {}, "state": "great"}]}),
        ("outcome", {"trials": [{"knobs": {}, "state": "raced", "objective": ["fast", 1, 2, 3]}]}),
        ("outcome", {"trials": [{"knobs": {}, "state": "raced", "seconds": {"build": "long"}}]}),
        ("outcome", {"trials": [{"knobs": {}, "state": "raced", "resources": None, "reason": 5}]}),
        ("search", {"options": "none"}),
        ("search", {"space": {"facts": 3}}),
        ("alpha spent", {"alpha": "little"}),
        ("alpha spent", {"alpha": -1}),
    ],
)
def test_line_changed_by_hand_is_named(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    path = tmp_path / "search.jsonl"
    searched(Scripted(), path, name="random", budget=Budget(evaluations=2))
    lines = events(path)
    number = next(number for number, event in enumerate(lines) if event["event"] == name)
    lines[number].update(changes)
    path.write_text("".join(f"{json.dumps(event)}\n" for event in lines))
    with pytest.raises(UsageError, match=f"Line {number + 1} of the journal, .* is not as a search writes it"):
        History.of(read(path))
    with pytest.raises(UsageError, match=f"Line {number + 1} of the journal, .* is not as a search writes it"):
        Journal.open(path, HEAD, SCOPE, resume=True)


def test_search_that_raced_nothing_says_why_and_how_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    wrong = Scripted(states=dict.fromkeys(SPACE, "wrong"))
    trials = searched(wrong, path, budget=Budget(evaluations=2)).trials
    said = board(History.of(read(path)), 120, False)
    assert f"{trials[0].configuration.title}: {trials[0].reason}" in said
    assert any(line.startswith("The search ended: ") for line in said)


def test_candidates_are_told_apart_by_all_that_they_depend_on() -> None:
    one, other = list(SPACE)[:2]
    scopes = [
        SCOPE,
        replace(SCOPE, source="another"),
        replace(SCOPE, flags=("-O2",)),
        replace(SCOPE, architecture="sm_100a"),
        replace(SCOPE, environment={"driver": "590"}),
    ]
    assert len({scope.identity(configuration) for scope in scopes for configuration in (one, other)}) == 10
    assert Scope.of(json.loads(json.dumps(SCOPE.facts()))).identity(one) == SCOPE.identity(one)
    assert Trial(one, "raced").raced is False  # without a latency it is none

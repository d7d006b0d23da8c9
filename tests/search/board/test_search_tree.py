"""The elites of a search with their ancestors, for people: what changed, and what that gave."""

from __future__ import annotations

import math

from pytest_kgate import cli
from pytest_kgate.search.board.tree import ASSUMED
from pytest_kgate.search.board.tree import lines_of_tree
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.prompts.replies.reply import read_reply
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import configuration_of
from pytest_kgate.search.prompts.replies.stored import folder_of
from pytest_kgate.search.space.configuration import Configuration


def raced(ratio, configuration, **more):
    return Trial(configuration, "raced", objective=Estimate(math.log(ratio), 0.001, 11, 12), **more)


def knobs(ratio, **values):
    return raced(ratio, Configuration.of(values))


def test_each_elite_is_followed_back_by_the_knobs_that_changed():
    first, second = knobs(0.95, TILE=32, STAGES=2), knobs(0.874, TILE=64, STAGES=2)
    out = Trial(Configuration.of({"TILE": 64, "STAGES": 4}), "spills", "8 bytes")
    third = knobs(0.871, TILE=64, STAGES=3)
    assert lines_of_tree([third, first], [first, second, out, third]) == [
        "0.871  STAGES=3,TILE=64: STAGES 2 -> 3: -0.3 % +- 0.31 %",
        "  0.874  STAGES=2,TILE=64: TILE 32 -> 64: -8.0 % +- 0.31 %",
        "    0.950  STAGES=2,TILE=32, the first of its line",
        "0.950  STAGES=2,TILE=32, the first of its line",
        ASSUMED,
    ]


def test_candidates_that_know_their_parents_are_followed_by_these():
    near, far = knobs(1.0, TILE=32, STAGES=2), knobs(0.9, TILE=64, STAGES=4)
    ids = (far.configuration.id, near.configuration.id)
    child = raced(0.8, Configuration.of({"TILE": 32, "STAGES": 3}), parents=ids)
    assert lines_of_tree([child, near], [near, far, child]) == [
        "0.800  STAGES=3,TILE=32, crossed with STAGES=2,TILE=32: STAGES 4 -> 3, TILE 64 -> 32: -11.1 % +- 0.31 %",
        "  0.900  STAGES=4,TILE=64, the first of its line",
        "1.000  STAGES=2,TILE=32, the first of its line",
    ]


def test_sources_are_followed_by_their_parents_with_what_their_authors_said(tmp_path, capsys):
    path = tmp_path / "search.jsonl"
    replies = Replies(folder_of(path))
    texts = ("int a;\n", "int a;\nint b;\n", "int c;\nint b;\n")
    made = [replies.add(read_reply(f"Idea {text[4]}.\n```\n{text}```", ".cu", None), text) for text in texts]
    one, two, three = (reply.id for reply in made)
    journal = Journal.open(path, Head("t.py::test", "provider", 0), Scope())
    parents = ((), (one,), (two, one))
    for reply, ratio, came in zip(made, (1.0, 0.5, 0.25), parents, strict=True):
        trial = raced(ratio, configuration_of(reply), source=reply.id, parents=came)
        key = journal.key([trial.configuration], 12)
        journal.started(key, [trial.configuration])
        journal.outcome(key, [trial])
    journal.close()
    assert cli.main(["leaderboard", str(path), "--tree", "--width", "200"]) == 1
    tree = capsys.readouterr().out.partition("\n\n0.250")[2].splitlines()
    assert f'  {three}, crossed with {one}: 1 line more, 1 less, "Idea c.": -50.0 % +- 0.31 %' in f"  {tree[0].strip()}"
    assert tree[1] == f'  0.500  {two}: 1 line more, 0 less, "Idea a.": -50.0 % +- 0.31 %'
    assert tree[2] == f"    1.000  {one}, the first of its line"

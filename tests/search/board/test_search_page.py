"""A search as an HTML page: the best so far, knobs side by side, what was rejected at which stage, and the tree."""

from __future__ import annotations

import math
import re

from sample_records import session

from pytest_kgate import cli
from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.search.board.figures import best_so_far
from pytest_kgate.search.board.figures import knobs_side_by_side
from pytest_kgate.search.board.figures import rejected
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration

ONE, TWO, THREE, FOUR = (Configuration.of({"TILE": tile, "mode": "max", "PAD": tile % 3}) for tile in (16, 32, 64, 128))


def raced(ratio, configuration, stderr=0.01):
    return Trial(configuration, "raced", objective=Estimate(math.log(ratio), stderr, 11, 12))


TRIALS = [
    raced(0.9, ONE),
    Trial(TWO, "unbuildable", "<b>no such tile</b>"),
    raced(0.95, THREE),
    raced(0.8, FOUR),
    Trial(Configuration.of({"TILE": 256}), "unbuildable", "<b>no such tile</b>"),
    Trial(Configuration.of({"TILE": 512}), "wrong", "off by 0.5"),
]


def test_the_best_so_far_is_drawn_with_its_interval_and_the_champion_is_named():
    figure = best_so_far(TRIALS, FOUR)
    assert [row[0] for row in figure.table.rows] == ["1", "4"]
    assert figure.table.rows[1][1:] == ("PAD=2,TILE=128,mode=max", "0.800 [0.783, 0.818]", "champion")
    dots = next(line.path for line in figure.lines if line.css == "dots reference")
    assert dots.count("M") == 3
    assert best_so_far([raced(0.9, ONE, math.nan)], None).table.rows[0][2] == "0.900"
    assert best_so_far([TRIALS[1]], None) is None


def test_parallel_coordinates_have_an_axis_for_each_knob_that_varies():
    figure = knobs_side_by_side(TRIALS)
    heads = [word.text for word in figure.words if word.css == "head"]
    assert heads == ["TILE", "PAD", "ratio"]
    assert sum(line.css == "candidate" for line in figure.lines) == 3
    assert knobs_side_by_side(TRIALS[:2]) is None
    sources = [raced(0.9, Configuration.of({"source": name})) for name in ("a", "b", "c")]
    assert knobs_side_by_side(sources) is None


def test_the_rejected_are_counted_by_stage_with_their_reasons():
    figure = rejected(TRIALS)
    assert figure.caption == "3 of 6 candidates were right and raced."
    assert list(figure.table.rows) == [
        ("did not compile", "<b>no such tile</b> (2 times)", "2"),
        ("wrong", "off by 0.5", "1"),
    ]
    assert rejected(TRIALS[:1]) is None


def test_the_page_holds_it_all_and_records_beside_it(tmp_path, capsys):
    journal = Journal.open(tmp_path / "search.jsonl", Head("t.py::test", "grid", 0), Scope())
    for trial in TRIALS:
        key = journal.key([trial.configuration], 12)
        journal.started(key, [trial.configuration])
        journal.outcome(key, [trial])
    journal.close()
    file = RecordFile(tmp_path / "records.json")
    for record in session():
        file.append(record)
    file.close()
    page = tmp_path / "page.html"
    command = ["leaderboard", str(tmp_path / "search.jsonl"), "--html", str(page)]
    assert cli.main(command) == 1  # there is no champion
    alone = page.read_text()
    assert re.findall(r"<h3>(.*?)</h3>", alone)[:4] == [
        "Best so far",
        "Knobs of the fastest",
        "Rejected, by stage",
        "Elites and their ancestors",
    ]
    assert "A search for t.py::test. Its champion: none." in alone
    assert "&lt;b&gt;no such tile&lt;/b&gt;" in alone
    assert "TILE 16 -&gt; 128" in alone
    assert "No records." not in alone
    assert cli.main([*command, "--records", str(tmp_path / "records.json")]) == 1
    assert "Best so far" in page.read_text()
    assert 'id="gates"' in page.read_text()
    assert cli.main([*command[:-1], str(tmp_path / "search.jsonl")]) == 2
    assert "is no HTML page" in capsys.readouterr().err

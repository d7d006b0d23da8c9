"""What searches claim and find on the fake device's noise: counted again in short, and as committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pytest_kgate import cli
from pytest_kgate.search.course.simulation import file
from pytest_kgate.search.course.simulation.claims import DESIGNS
from pytest_kgate.search.course.simulation.count import simulate
from pytest_kgate.search.course.simulation.findings import WAYS
from pytest_kgate.search.course.simulation.findings import best_found
from pytest_kgate.search.course.simulation.findings import near
from pytest_kgate.search.course.simulation.recorded import load

ROOT = Path(__file__).parents[3]
FILE = ROOT / "benchmarks" / "simulated" / "search.json"
PAGE = ROOT / "docs" / "search.md"
RECORDED = ROOT / "benchmarks" / "simulated" / "recorded"


def test_equal_candidates_have_no_champion_where_other_ways_always_claim_one() -> None:
    seeds = range(4)
    assert all(DESIGNS["fastest"].run(seed).claimed for seed in seeds)
    assert all(DESIGNS["offset-same"].run(seed).claimed for seed in seeds)
    # Two of twelve, where one in eighty may be, would be luck once in a hundred seeds.
    assert sum(DESIGNS[name].run(seed).claimed for name in ("grid", "again", "offset-five") for seed in seeds) <= 1


def test_a_quarter_of_the_builds_ends_near_the_best() -> None:
    seeds = range(8)
    assert sum(near(WAYS["evolve"], seed) for seed in seeds) >= 7
    assert sum(near(WAYS["random"], seed) for seed in seeds) <= 6


def test_a_recorded_space_is_the_one_that_was_recorded() -> None:
    recorded = load(RECORDED / "convolution-a100.json")
    assert len(recorded.seconds) == 4362
    assert sum(np.isinf(found) for found in recorded.seconds.values()) == 161
    assert recorded.performance(min(recorded.seconds, key=recorded.seconds.__getitem__)) == 1.0
    assert 0 < best_found(recorded, WAYS["random"], 1)[0] <= best_found(recorded, WAYS["random"], 1)[1] <= 1


# ---- the committed file


def test_the_committed_searches_hold_what_is_promised() -> None:
    document = file.load(FILE)
    assert file.beyond_limit(document) == []
    claims = {row["name"]: row for row in document["claims"]}
    assert set(claims) == set(DESIGNS)
    for row in claims.values():
        if row["limit"] is not None:
            assert row["searches"] >= 400
            assert row["claimed"] <= row["limit"] * row["searches"], row["name"]
    found = {row["name"]: row["near"] / row["searches"] for row in document["near"]}
    assert found["evolve"] >= 0.9
    assert found["random"] < 0.7
    spaces = {row["space"] for row in document["recorded"]}
    assert len(spaces) == len(list(RECORDED.glob("*.json"))) >= 2
    for space in spaces:
        rows = {
            row["name"]: np.median(row["performance"], axis=0) for row in document["recorded"] if row["space"] == space
        }
        assert (rows["evolve"] > rows["random"]).all(), space


@pytest.mark.parametrize("table", list(file.TABLES))
def test_the_page_has_the_tables_of_the_committed_file(table: str) -> None:
    made = file.TABLES[table](file.load(FILE))
    page = PAGE.read_text(encoding="utf-8")
    start = page.index(f"<!-- kgate:search-{table} -->\n")
    assert page[start:].split("\n", 1)[1].split("<!-- /kgate -->")[0].strip() == made.strip()


def test_a_way_that_claims_too_often_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    document = simulate("fastest", 32, 42, None, lambda what: None)
    document["claims"][0]["limit"] = 0.025
    path = tmp_path / "search.json"
    file.save(document, path)
    assert cli.main(["simulate-search", "--from", str(path)]) == 1
    told = capsys.readouterr()
    assert "| the fastest of twelve-round estimates | 100 % | 2.5 % |" in told.out
    assert "8 of 8 searches claimed what is not so" in told.err
    assert cli.main(["simulate-search", "--only", "nothing"]) == 2
    assert "There is no design or strategy nothing." in capsys.readouterr().err

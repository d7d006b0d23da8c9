"""Other designs of a round: what they cancel, and the committed counts of what they are worth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from pytest_kgate import cli
from pytest_kgate.device.fake.noise import White
from pytest_kgate.validation.simulate import designs
from pytest_kgate.validation.simulate import file
from pytest_kgate.validation.simulate.scenarios import BY_NAME

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "benchmarks" / "simulated" / "designs.json"


@dataclass(frozen=True)
class Slope:
    """A latency that rises evenly within each round."""

    def draw(self, rng, rounds, slots):
        return np.broadcast_to(0.01 * np.arange(slots), (1, rounds, slots))


def _spread(design, noise):
    """Of the rounds' log ratios, by the mean of all samples."""
    candidate, reference = designs.DESIGNS[design](np.random.default_rng(3), noise)
    return float((candidate.mean(axis=1) - reference.mean(axis=1)).std())


@pytest.mark.parametrize(("design", "left"), [("mirrored order", 1e-9), ("null arm as control", 0.5)])
def test_design_takes_off_what_rises_evenly_within_a_round(design, left):
    """The null arm knows nothing of what comes before its first sample and after its last, so that it leaves some."""
    assert _spread(design, Slope()) < left * _spread("random order", Slope())


@pytest.mark.parametrize("design", list(designs.DESIGNS))
def test_design_leaves_independent_noise_as_large_as_it_is(design):
    samples = {"15 samples an arm": 15, "4 samples": 4, "2 samples": 2}.get(design, 10)
    own = designs._INPUTS.sd if design == "inputs not shared" else 0.0
    wanted = np.sqrt(2 * (0.02**2 / samples + own**2))
    assert _spread(design, White(0.02)) == pytest.approx(wanted, rel=0.2)


@pytest.fixture(scope="module")
def record():
    return file.load(RECORD, designs.SCHEMA)


def test_no_design_of_the_record_errs_more_often_than_its_noise_allows(record):
    for row in record["scenarios"]:
        for one in row["cells"]:
            if row["name"] == "ar95-own" and one["design"] in ("4 samples", "2 samples"):
                continue  # it lasts for several such short rounds then, against which no rule that is known protects
            chance = binomtest(one["passed"], one["gates"], BY_NAME[row["name"]].limit, alternative="greater").pvalue
            assert chance >= 0.01, (row["name"], one)


def test_record_holds_all_designs_as_they_are_now(record):
    assert [row["name"] for row in record["scenarios"]] == list(designs.SCENARIOS)
    assert {row["noise"] for row in record["scenarios"]} == {repr(BY_NAME[name].noise) for name in designs.SCENARIOS}
    assert {tuple(one["design"] for one in row["cells"]) for row in record["scenarios"]} == {tuple(designs.DESIGNS)}


def test_table_of_the_page_is_made_from_the_record(record):
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert f"<!-- kgate:designs -->\n{designs.table(record).strip()}\n<!-- /kgate -->" in page


def test_command_counts_designs_and_puts_the_table_on_a_page(tmp_path, capsys):
    path, page = tmp_path / "designs.json", tmp_path / "page.md"
    page.write_text("<!-- kgate:here -->\n<!-- /kgate -->\n")
    assert cli.main(["simulate", "--designs", "--gates=3", "--only=independent", f"--json={path}"]) == 0
    shown = capsys.readouterr().out
    assert cli.main(["simulate", "--designs", f"--from={path}", f"--into={page}", "--block=here"]) == 0
    assert shown.strip() in page.read_text()
    assert cli.main(["simulate", f"--from={path}"]) == 2
    assert "holds no simulation" in capsys.readouterr().err

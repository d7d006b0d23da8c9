"""What a search shows of its candidates: places with ties, a champion or why there is none, T4 for other tuners."""

from __future__ import annotations

import math

import jsonschema
import pytest

from pytest_kgate.search.board import t4
from pytest_kgate.search.board.places import places
from pytest_kgate.search.board.table import champion_lines
from pytest_kgate.search.board.table import cost_line
from pytest_kgate.search.board.table import in_columns
from pytest_kgate.search.board.table import lines_of
from pytest_kgate.search.board.table import out_line
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import State
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration


def configuration(stages: int) -> Configuration:
    return Configuration.of({"STAGES": stages, "PAD": 8})


def raced(stages: int, ratio: float, stderr: float = 0.001, registers: int = 64) -> Trial:
    estimate = Estimate(math.log(ratio), stderr, 11.0, 12)
    resources = {"registers": registers, "shared_bytes": 1024}
    return Trial(configuration(stages), "raced", "", {"a": estimate}, estimate, resources, {"build": 4.0, "race": 0.1})


def confirmed(stages: int, passed: bool = True) -> Confirmation:
    reason = "" if passed else "not decided"
    return Confirmation(configuration(stages), passed, 0.0125, 5, {"a": "PASS"}, {"a": (0.9, 0.89, 0.91)}, reason)


def test_who_can_not_be_told_apart_shares_places():
    found = places([raced(4, 0.95), raced(2, 0.901), raced(3, 0.9)], {}, None)
    assert [(one.trial.configuration, one.text) for one in found] == [
        (configuration(3), "1-2"),
        (configuration(2), "1-2"),
        (configuration(4), "3"),
    ]


def test_equal_ones_stand_by_what_they_take_and_an_unknown_error_tells_nothing():
    found = places([raced(2, 0.9, 0.0, 96), raced(3, 0.9, 0.0, 64), raced(4, 0.8, math.nan)], {}, None)
    assert [(one.trial.configuration.as_dict()["STAGES"], one.text) for one in found] == [
        (4, "1-3"),
        (3, "1-3"),
        (2, "1-3"),
    ]
    wild = lines_of(places([raced(2, 0.9, math.nan), raced(3, 0.95, 1.5)], {}, None), 80, False)
    assert [" ".join(line.split()[2:-4]) for line in wild[1:3]] == ["?", "> 100 %"]


def test_table_names_what_differs_and_keeps_the_champion_in_sight():
    trials = [raced(stages, 0.9 + 0.01 * stages) for stages in range(1, 15)]
    sure = {configuration(14): (confirmed(14),), configuration(1): (confirmed(1, False),)}
    found = places(trials, sure, configuration(14))
    for width in (80, 120):
        lines = lines_of(found, width, False, most=3)
        assert max(map(len, lines)) <= width
        assert lines[0].split() == ["place", "ratio", "+-", "rounds", "regs", "smem", "knobs"]
        assert [line.split()[-1] for line in lines[1:5]] == [f"STAGES={stages}" for stages in (1, 2, 3, 14)]
        assert "not confirmed" in lines[1]
        assert "champion" in lines[4]
        assert lines[5:] == ["and 10 more", "All have PAD=8."]


def test_numbers_in_sentences_below_the_table_keep_their_units():
    assert in_columns(["above the bound by 79 %", ""], 22) == ["above the bound by", "  79 %", ""]


def test_those_that_were_not_raced_are_counted_by_their_reason():
    states: list[State] = ["wrong", "unbuildable", "unbuildable"]
    trials = [raced(1, 0.9), *(Trial(configuration(2 + n), state, "no") for n, state in enumerate(states))]
    assert out_line(trials) == "1 of 4 candidates raced; 2 did not compile, 1 wrong."
    assert out_line(trials[:1]) == "1 of 1 candidate raced."
    assert cost_line(trials) == "Builds took 4.00 s, checks and races 100 ms."


def test_claim_and_its_price_are_told_and_so_is_why_there_is_none():
    said = "\n".join(champion_lines(confirmed(2), [confirmed(2)], 0.0125))
    assert "Champion: PAD=8,STAGES=2" in said
    assert "ratio 0.900 [0.890, 0.910] over 5 fresh processes" in said
    assert "with a chance of 1.25 %" in said
    said = "\n".join(champion_lines(None, [confirmed(2, False)], 0.0125))
    assert "No champion: PAD=8,STAGES=2 was not confirmed: not decided" in said
    assert champion_lines(None, [], 0.0) == ["No champion was confirmed."]
    assert champion_lines(None, [], 0.0125, begun=1)[1] == "1 confirmation begun and not ended."


RESULTS = {
    "type": "object",
    "required": ["results", "schema_version"],
    "properties": {
        "schema_version": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["configuration", "times", "invalidity", "correctness"],
                "properties": {
                    "timestamp": {"type": "string"},
                    "configuration": {"type": "object"},
                    "objectives": {"type": "array"},
                    "times": {
                        "type": "object",
                        "properties": {
                            "compilation_time": {"type": "number"},
                            "framework": {"type": "number"},
                            "search_algorithm": {"type": "number"},
                            "validation": {"type": "number"},
                            "runtimes": {"type": "array"},
                        },
                    },
                    "invalidity": {"enum": ["timeout", "compile", "runtime", "correctness", "constraints", "correct"]},
                    "correctness": {"type": "number"},
                    "measurements": {
                        "type": "array",
                        "items": {
                            "properties": {
                                "name": {"type": "string"},
                                "value": {"type": ["number", "string", "array"]},
                                "unit": {"type": "string"},
                            }
                        },
                    },
                },
            },
        },
    },
}
"""What the results schema of T4 1.0.0 demands."""


def test_outcomes_are_exported_as_other_tuners_read_them():
    trials = [raced(1, 0.8), *(Trial(configuration(2), state, "no") for state in t4.INVALIDITY if state != "raced")]
    document = t4.document([("2026-01-02T03:04:05+00:00", one) for one in trials])
    jsonschema.Draft202012Validator(RESULTS).validate(document)
    first = document["results"][0]
    assert first["configuration"] == {"PAD": 8, "STAGES": 1}
    assert (first["invalidity"], first["correctness"], first["times"]["compilation_time"]) == ("correct", 1, 4.0)
    measured = {one["name"]: one["value"] for one in first["measurements"]}
    assert measured[first["objectives"][0]] == pytest.approx(0.8)
    assert [one["invalidity"] for one in document["results"][1:]].count("runtime") == 2
    assert {one["correctness"] for one in document["results"][1:]} == {0}

"""The account of one gate says what was demanded, what was measured, and what to try."""

from __future__ import annotations

import itertools
import re

import pytest
from sample_records import against_record
from sample_records import error_record
from sample_records import invalid_record
from sample_records import measured_record
from sample_records import session
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.profile.nsight.collection.facts import without_counters
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.text.failure import failure_text
from pytest_kgate.report.text.layers import in_the_winning_layer
from pytest_kgate.statistics.gates import SpeedGate


def flat(record: Record) -> str:
    """The text as one line, so that a test need not know where lines end."""
    return " ".join(failure_text(record).split())


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("record", session(), ids=lambda record: record["test"].rpartition("::")[2])
def test_account_stays_within_the_width(record: Record, width: int) -> None:
    text = failure_text(record, width)
    *lines, command = text.splitlines()
    assert max(map(len, lines)) <= width
    for line, after in itertools.pairwise(lines):
        assert not (re.search(r"\d$", line) and re.match(r" +(us|ms|%)\b", after))
    assert record["test"] in command
    assert text.isascii()


def test_slow_candidate_learns_the_time_it_must_beat() -> None:
    text = flat(speed_record(ratio=1.21, reference_seconds=451e-6))
    assert text.startswith("FAIL: wmma against sdpa cudnn on sdpa 1x8x512x64 float16")
    assert "demanded latency ratio below 0.95, at 95 % confidence" in text
    assert re.search(r"measured 1\.2\d\d \[1\.\d+, 1\.\d+\] after 24 rounds", text)
    assert re.search(r"off by 2\d % above the bound: the bound is 4\d\d us, a call takes 54\d us", text)
    assert "error candidate 4.9e-04, reference 4.1e-04, allowed 2.0e-03 (largest of 5 draws)" in text


def test_slow_candidate_learns_which_reference_it_would_beat() -> None:
    text = flat(speed_record(ratio=1.1))
    assert "the candidate beats math (37.2 us), which sdpa_oracle(shape, backend=...) can name" in text


def test_slow_candidate_learns_of_its_spills() -> None:
    record = speed_record(ratio=1.1)
    record["candidate"]["resources"][0]["spill_bytes"] = 96
    assert "ptxas spills 96 bytes of registers in attention: smaller tiles (chosen: BLOCK_M=64)" in flat(record)


def test_slow_candidate_learns_why_the_three_likeliest_causes_first() -> None:
    record = speed_record(ratio=1.1)
    assert "  why" not in failure_text(record)
    names = ("excess-bytes", "memory-bound", "bank-conflicts", "power-limited")
    record["insights"] = [
        {"name": name, "finding": f"{name} is 40 % of it.", "evidence": {}, "confidence": "sure", "advice": "Mend it."}
        for name in names
    ]
    text = flat(record)
    assert "why excess-bytes (sure): excess-bytes is 40 % of it. -> Mend it. memory-bound (sure):" in text
    assert "and 1 finding more: power-limited" in text


def test_slow_candidate_learns_how_to_learn_more_unless_it_has_been_counted() -> None:
    record = speed_record(ratio=1.1)
    assert "With --kgate-profile the failure says what bounds it" in flat(record)
    record["counters"] = without_counters("none", "ncu was not found. Install it.")
    assert "--kgate-profile" not in flat(record)


def test_percentiles_are_told_where_a_gate_is_on_one_or_all_is_shown() -> None:
    plain, on_p90 = speed_record(rounds=96), speed_record(rounds=96, bounds=(SpeedGate(1.0, quantile=0.9),))
    assert "quantiles" not in flat(plain)
    for shown in (" ".join(failure_text(plain, whole=True).split()), flat(on_p90)):
        assert re.search(r"quantiles candidate p50 \d+\.\d+ us \[.*\]; p90 .*reference p50 \d+\.\d+ us \[", shown)


def test_percentile_that_the_samples_cannot_carry_is_a_dash() -> None:
    shown = " ".join(failure_text(speed_record(rounds=12), whole=True).split())
    assert re.search(r"p99 - \(\d+ more samples\)", shown)


def test_gates_of_one_race_are_all_told() -> None:
    text = flat(speed_record(ratio=0.97, bounds=(SpeedGate(1.0), SpeedGate(0.9, quantile=0.9))))
    assert "demanded latency ratio below 1.00" in text
    assert "demanded p90 latency ratio below 0.90" in text
    assert "verdict PASS" in text
    assert "verdict FAIL: " in text


def test_undecided_gate_learns_the_budget_that_decides_it() -> None:
    text = flat(speed_record(ratio=0.93, noise=0.012, rounds=12))
    assert "verdict INCONCLUSIVE: after 12 of 96 rounds" in text
    assert "try --kgate-budget 0.98 gives the race 24 rounds, which would likely decide it." in text
    assert "--kgate-inconclusive warn" in text


@pytest.mark.parametrize("ratio", [1.2, 0.93])
@pytest.mark.parametrize("launched_by", ["candidate", "timer"])
def test_isolated_candidate_that_is_not_fast_enough_hears_first_of_the_way_to_its_process(ratio, launched_by) -> None:
    record = speed_record(ratio=ratio, noise=0.012, rounds=12)
    record["isolation"] = {
        "confined": None,
        "launched_by": launched_by,
        "calls_in_a_row": 1,
        "verified": 0,
        "reference_slowed": None,
    }
    told = "try The way to the isolated candidate's process is part of its latency, and not of the reference's: time a"
    assert (told in flat(record)) == (launched_by == "candidate")
    assert ("judge speed without --kgate-isolate" in flat(record)) == (launched_by == "candidate")


def test_interval_names_the_rounds_of_its_look_where_a_race_went_on_past_that() -> None:
    text = flat(speed_record(ratio=0.95, noise=0.03, rounds=45))
    assert "after 24 rounds, the latest look (45 were taken)" in text
    assert "after 24 of 96 rounds" in text


def test_undecided_gate_is_not_sent_for_rounds_that_do_not_help() -> None:
    text = flat(speed_record(ratio=0.95, noise=0.03, rounds=96))
    assert "INCONCLUSIVE" in text
    assert "--kgate-budget" not in text


def test_answer_that_changes_between_launches_points_to_races() -> None:
    text = flat(invalid_record())
    assert "INVALID: a timed launch left another answer" in text
    assert "__syncthreads" in text


def test_only_a_race_has_a_timing() -> None:
    untimed = wrong_record() | {"environment": {"cpu": {"model": "A processor"}}}
    assert "device A processor" in flat(untimed)
    assert "timing" not in flat(untimed)


def test_candidate_that_could_not_run_says_why() -> None:
    assert "reason A kernel faulted while timing: CUDA error: an illegal memory access" in flat(error_record())


def test_lines_of_a_reason_are_kept() -> None:
    text = failure_text(error_record(reason="nvcc failed\n  error: expected ';'\ncommand: nvcc x.cu"))
    assert "nvcc failed\n" in text
    assert "command: nvcc x.cu\n" in text


def test_measurement_has_an_account_too() -> None:
    record = measured_record()
    assert record["timing"]
    record["timing"]["ratio"] = {"low": 0.9, "estimate": 0.95, "high": 1.1, "confidence": 0.95}
    text = flat(record)
    assert text.startswith("MEASURED: ")
    assert "TFLOP/s" in text
    assert f"measured latency ratio 0.950 [0.900, 1.100] after {record['timing']['rounds']} rounds" in text


def test_command_repeats_the_test_in_a_shell() -> None:
    text = failure_text(speed_record("a.py::t[x y's]"))
    assert text.endswith("""pytest 'a.py::t[x y'"'"'s]' --kgate-seed 42""")


def test_slow_candidate_learns_a_bound_that_holds() -> None:
    record = speed_record(ratio=0.97, bounds=(SpeedGate(0.9), SpeedGate(0.9, quantile=0.9)))
    found = re.search(r"speedup\((\d\.\d\d)\) and speedup\((\d\.\d\d), quantile=0\.9\) would hold today", flat(record))
    assert found
    bounds = [float(one) for one in found.groups()]
    assert all(gate["ratio"]["high"] < bound < 1.0 for gate, bound in zip(record["gates"], bounds, strict=True))
    assert "It is faster than the reference" in flat(record)
    assert "as a guard while you tune: another race's interval may end higher." in flat(record)


def test_slow_solution_of_a_published_problem_learns_a_bound_as_its_verb_takes_it() -> None:
    record = speed_record(ratio=0.97, bounds=(SpeedGate(0.9),))
    record["asked"] = {"command": ["kgate", "kernelbench", "problem.py", "new.py"], "sources": {}}
    assert re.search(r"--bound \d\.\d\d would hold today", flat(record))
    assert "speedup(" not in flat(record)


def test_slow_candidate_whose_interval_is_wide_is_named_no_bound() -> None:
    record = speed_record(ratio=5.0, bounds=(SpeedGate(0.98),))
    record["gates"][0]["ratio"] |= {"low": 2.9, "high": 8.9}
    assert "would hold today" not in flat(record)
    assert "Its interval is too wide to name a bound that would hold: a quieter machine, or --kgate" in flat(record)


def test_slow_candidate_is_not_sent_for_rounds_that_its_race_has_taken() -> None:
    record = speed_record(ratio=5.0, bounds=(SpeedGate(0.98),))
    record["gates"][0]["ratio"] |= {"low": 2.9, "high": 8.9}
    record["gates"][0]["rounds"] = 96
    text = flat(record)
    assert "to name a bound that would hold: a quieter machine tells more of the ratio." in text
    assert "--kgate-rounds" not in text


def test_candidate_slower_than_it_was_learns_a_margin_that_holds() -> None:
    found = re.search(r"regression\(margin=(0\.\d+)\) would hold today", flat(against_record(ratio=1.05)))
    assert found
    assert 0.05 < float(found[1]) < 0.2
    assert "would hold today" not in flat(against_record(ratio=2.5))


def test_gate_on_a_quantile_is_not_told_of_references_by_the_median() -> None:
    text = flat(speed_record(ratio=1.1, bounds=(SpeedGate(1.2), SpeedGate(0.9, quantile=0.9))))
    assert "the candidate beats" not in text
    assert "Another gate of the same race passed" in text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ini", "try --kgate-budget 0.98 gives"),
        ("KGATE_BUDGET", "try --kgate-budget 0.98 gives"),
        ("marker", "try @pytest.mark.perf(budget=0.98) gives"),
        ("kbench", "try kbench(budget=0.98) gives"),
        ("evaluate", "try evaluate(budget=0.98) gives"),
    ],
)
def test_advice_names_the_layer_that_wins(source: str, said: str) -> None:
    record = speed_record(ratio=0.93, noise=0.012, rounds=12)
    record["asked"] = {"command": ["pytest", "a.py::t"], "sources": {"budget": source, "inconclusive": source}}
    text = flat(record)
    assert said in text
    assert ("inconclusive='warn')" in text) == (source in ("marker", "kbench", "evaluate"))


def test_advice_without_a_value_names_the_option_of_the_layer_that_wins() -> None:
    sources = {"budget": "marker", "timer": "kbench"}
    said = in_the_winning_layer("Raise --kgate-budget, or use --kgate-timer eager.", sources)
    assert said == "Raise `budget` of the perf marker (it overrides --kgate-budget), or use kbench(timer='eager')."


@pytest.mark.parametrize(("samples", "budget"), [(10, 4.9), (4, 4.9), (6, 8.2)])
def test_advised_budget_has_room_for_the_samples_that_it_brings(samples: int, budget: float) -> None:
    record = speed_record(ratio=0.93, noise=0.012, rounds=12)
    record["gates"][0]["rounds_to_decide"] = 96
    record["timing"] |= {"rounds": 12, "samples_per_round": samples, "seconds_spent": 0.51}
    assert f"try --kgate-budget {budget} gives the race 96 rounds" in flat(record)


@pytest.mark.parametrize(("rounds", "budget"), [(1, "9.6"), (2, "9.6"), (3, "5.8"), (4, "5.8")])
def test_budget_that_rests_on_one_or_two_rounds_has_room_for_others_that_take_longer(rounds: int, budget: str) -> None:
    record = speed_record(rounds=rounds)
    assert record["timing"] is not None
    record["timing"]["seconds_spent"] = 0.4 * rounds
    assert f"try --kgate-budget {budget} gives the race 12 rounds" in flat(record)
    assert ("would likely decide it" in flat(record)) == (rounds > 3)


def test_mode_that_the_test_has_opened_itself_is_told_where_to_be_closed() -> None:
    reason = "what the gate measures or judges with was replaced: all operators, by the open mode FlopCounterMode."
    text = flat(invalid_record() | {"reason": reason})
    assert "close the test's own before kbench is called" in text


def test_command_is_the_sessions_own_and_drops_a_seed_that_the_test_sets() -> None:
    record = speed_record()
    record["asked"] = {"command": ["pytest", "sub/a.py::t[x y]", "-c", "my.ini"], "sources": {"seed": "marker"}}
    assert failure_text(record).endswith("again     pytest 'sub/a.py::t[x y]' -c my.ini")

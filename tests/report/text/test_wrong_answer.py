"""Hints from a wrong answer: its cause, where it can be told from what is wrong."""

from __future__ import annotations

import re

import pytest
from sample_records import invalid_record
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate.report.record.record import Record
from pytest_kgate.report.text.failure import failure_text


def flat(record: Record) -> str:
    """The text as one line, so that a test need not know where lines end."""
    return " ".join(failure_text(record).split())


@pytest.mark.parametrize(
    ("record", "hint"),
    [
        (wrong_record(error=None, worst={"candidate": "nan"}), "Every element is NaN or Inf.*never written"),
        (
            wrong_record(error=None, worst={"candidate": "nan", "not_finite_fraction": 0.02}),
            "2.0 % of the elements are NaN or Inf.*tail",
        ),
        (wrong_record(wrong_kinds=("hard",)), "Right on normal inputs, wrong on sharp logits.*running maximum"),
        (wrong_record(worst={"index": [0, 0, 505, 1], "wrong_fraction": 0.02}), "row 505 of 512, near the end"),
        (wrong_record(causal=True), "causal.*diagonal"),
        (wrong_record(worst={"candidate": 0.0}), "wrote 0 there"),
        (wrong_record(worst={"wrong_fraction": 0.99}), "Most elements are wrong: check strides"),
        (wrong_record(worst={"wrong_fraction": 0.99, "output": "output 1"}), "log-sum-exp: the natural logarithm"),
        (wrong_record(error=9e-4), "The reference itself is off by 4.1e-04.*raise allclose"),
        (wrong_record(), "Shrink the problem"),
    ],
)
def test_wrong_answer_is_read_for_its_cause(record: Record, hint: str) -> None:
    text = flat(record)
    assert text.startswith("WRONG: wmma on sdpa")
    assert re.search(f"try {hint}|{hint}", text)


def test_answer_of_too_few_bits_points_to_the_last_cast() -> None:
    record = wrong_record(error=9e-4)
    record["correctness"]["failed"] = "bits"
    assert re.search("try Near the answer, .*the last cast to a coarser type", flat(record))


def test_one_wrong_slice_points_to_what_is_special_to_it() -> None:
    record = wrong_record(error=9e-4)
    record["correctness"]["failed"] = "slices"
    assert re.search("try Beside TF32 this channel, column or row alone is off", flat(record))


def test_wrong_answer_is_located() -> None:
    text = flat(wrong_record())
    assert "error candidate 3.1e-01, reference 4.1e-04, allowed 2.0e-03" in text
    assert "out[0, 3, 100, 2] = 0.35, exact is 0.04 (normal inputs of seed 77); 40 % of that draw is wrong" in text


@pytest.mark.parametrize(
    ("failed", "hint"),
    [("rms", "too few bits; accumulate in float32"), ("rows", "row 505 of 512, near the end")],
)
def test_error_that_the_tolerance_forgives_is_explained_by_the_check_that_found_it(failed, hint):
    record = wrong_record(error=1e-4, worst={"index": [0, 0, 505, 1]})
    record["correctness"]["failed"] = failed
    del record["correctness"]["worst"]["wrong_fraction"]
    text = " ".join(failure_text(record).split())
    assert hint in text
    assert "of that draw is wrong" not in text
    assert "then raise allclose" not in text


@pytest.mark.parametrize("share", [0.08, 0.004])
def test_error_that_no_rounding_explains_is_not_laid_to_too_few_bits(share: float) -> None:
    record = wrong_record(error=1e-2, worst={"wrong_fraction": 0.0})
    assert record["correctness"] is not None
    record["correctness"]["failed"] = "rms"
    for draw in record["correctness"]["draws"]:
        draw["candidate_rms_error"], draw["reference_rms_error"] = share * 0.062, 1e-9
    text = flat(softmax(record))
    assert ("try The answer is far off as a whole: check strides and layout, and that every part" in text) == (
        share == 0.08
    )
    assert ("too few bits; accumulate in float32. allclose(..., factor=N)" in text) == (share == 0.004)
    assert ("look for long sums in 16 bits, and values in 8" in text) == (share == 0.08)
    assert ("factor" in text) == (share == 0.004)


def softmax(record: Record) -> Record:
    """The same outcome, of a problem that is not attention."""
    record["problem"] |= {"name": "softmax 64x256", "shape": None, "causal": None, "params": {}}
    return record


@pytest.mark.parametrize(
    "record",
    [
        wrong_record(),
        wrong_record(wrong_kinds=("hard",)),
        wrong_record(worst={"wrong_fraction": 0.99}),
        wrong_record(error=None, worst={"candidate": "nan", "not_finite_fraction": 0.02}),
        wrong_record(worst={"index": [0, 0, 505, 1]}),
        speed_record(ratio=1.1),
    ],
)
def test_other_operators_are_given_no_advice_of_attentions(record: Record) -> None:
    text = flat(softmax(record))
    _, found, advice = text.partition(" try ")
    assert found
    assert not re.search(r"logit|mask|head_dim|\bK\b|\bV\b|causal|\brow|sdpa_oracle|before exp", advice)


def test_answer_that_is_near_everywhere_is_not_sent_to_look_for_strides() -> None:
    record = wrong_record(error=0.05, worst={"wrong_fraction": 0.99})
    assert record["correctness"] is not None
    for draw in record["correctness"]["draws"]:
        draw["output_rms"] = 6.0
    assert "try Near the answer everywhere, but not as near as allowed: look for arithmetic" in flat(softmax(record))
    for draw in record["correctness"]["draws"]:
        draw["output_rms"] = 4.0
    assert "try Most elements are wrong: check strides" in flat(softmax(record))


def test_candidate_that_leaves_a_setting_changed_learns_where_to_set_it() -> None:
    record = invalid_record()
    record["reason"] = "the candidate left something changed: torch.get_num_threads: 2 -> 1; it was put back."
    assert "try Set it before kbench is called, so that it holds for both, or put it back" in flat(record)


def test_host_kernel_whose_answer_changes_is_not_told_of_syncthreads() -> None:
    record = invalid_record()
    record["environment"]["device"] = "host"
    assert "__syncthreads" not in flat(record)
    assert "threads that go on behind the call" in flat(record)


def test_complex_answer_that_is_wrong_is_shown_with_both_parts() -> None:
    record = wrong_record()
    assert record["correctness"] is not None
    record["correctness"]["worst"] = {
        "candidate": "-0.18-3.4237j",
        "exact": "-0.18+3.4237j",
        "index": [0, 3],
        "kind": "normal",
        "seed": 1,
    }
    assert "out[0, 3] = -0.18-3.424j, exact is -0.18+3.424j" in flat(record)


@pytest.mark.parametrize(
    ("candidate", "exact", "said"),
    [
        (4.05176, 4.05174, "= 4.0518, exact is 4.0517"),
        (0.1 + 0.2, 0.3, "= 0.30000000000000004, exact is 0.29999999999999999"),
        ("1.00001+2j", "1+2j", "= 1.00001+2j, exact is 1+2j"),
        (2.0, 2.0, "= 2, exact is 2"),
    ],
)
def test_values_are_shown_with_digits_in_which_they_differ(candidate, exact, said) -> None:
    assert said in flat(wrong_record(worst={"candidate": candidate, "exact": exact}))


@pytest.mark.parametrize("candidate", [0.5, "nan"])
def test_candidate_that_answers_otherwise_when_called_again_hears_that_first(candidate: float | str) -> None:
    text = flat(softmax(wrong_record(worst={"candidate": candidate, "wrong_fraction": 0.99, "varying_fraction": 0.25})))
    assert text.partition(" try ")[2].startswith("Two calls on the same inputs differ in 25 % of the elements: ")
    assert "kept by the address or the id of an input" in text
    assert "strides" not in text

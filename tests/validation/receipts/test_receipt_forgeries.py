"""What a signer may try: edits that leave a record whole to the eye. Pure functions; test_receipts.py has real keys."""

from __future__ import annotations

import base64
import copy
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from receipts import TEST_FILE
from receipts import git
from receipts import passing_records
from receipts import raced

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.bounds import read_bounds
from pytest_kgate.profile.nsight.judge import judge
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.document import parse
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.together.policy import file as policy
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.system.provenance import git as provenance
from pytest_kgate.system.provenance.files import digest_of
from pytest_kgate.validation.receipts.checkout import Checkout
from pytest_kgate.validation.receipts.judged_again.complete import lacking
from pytest_kgate.validation.receipts.judged_again.record import complaints
from pytest_kgate.validation.receipts.judged_again.together import of_all


def put(*path: Any, to: Any) -> Callable[[Any], None]:
    def edit(record: Any) -> None:
        for name in path[:-1]:
            record = record[name]
        record[path[-1]] = to

    return edit


def drop(*path: Any) -> Callable[[Any], None]:
    def edit(record: Any) -> None:
        for name in path[:-1]:
            record = record[name]
        del record[path[-1]]

    return edit


def all_of(*edits: Callable[[Any], None]) -> Callable[[Any], None]:
    def edit(record: Any) -> None:
        for one in edits:
            one(record)

    return edit


OFF = all_of(put("correctness", "draws", 0, "candidate_error", to=0.5), put("correctness", "candidate_error", to=0.5))
"""The answer of the first draw was off by 0.5, where 0.001 is allowed."""

EDITS: dict[str, tuple[Callable[[Any], None], str]] = {
    "an error hidden by a word": (all_of(OFF, put("correctness", "draws", 0, "excess", to="NaN")), "is beyond the"),
    "the same by infinity": (all_of(OFF, put("correctness", "draws", 0, "excess", to="-Infinity")), "is beyond the"),
    "wrong rows": (put("correctness", "draws", 1, "row_excess", to="NaN"), "draws[1] is beyond the tolerance"),
    "a wrong slice": (
        put("correctness", "draws", 1, "worst_slice", to={"axis": 0, "index": 0, "times": 9.0, "allowed": 4.5}),
        "draws[1].worst_slice is beyond what is allowed",
    ),
    "a problem that judges itself": (all_of(OFF, put("correctness", "by_equal", to=True)), "is off by 0.5"),
    "outputs with tolerances": (
        put("correctness", "outputs", to=[{"name": "output 1", "dtype": "float16", "atol": 1.0, "rtol": 0.0}]),
        "outputs[0] has a tolerance of its own",
    ),
    "the wrong draw left out": (drop("correctness", "draws", 4), "not those that follow from the call's seed"),
    "draws of another call": (put("correctness", "draws", 0, "seed", to=1), "not those that follow from the call's"),
    "a check that lets zeros pass": (
        all_of(put("correctness", "weak", to=["zeros"]), put("asked", to={"command": [], "sources": {}})),
        "would let pass zeros",
    ),
    "a check that lets zeros pass in one output": (
        all_of(put("correctness", "weak", to=["zeros (output 1)"]), put("asked", to={"command": [], "sources": {}})),
        "would let pass zeros (output 1)",
    ),
    "a finding": (
        put("integrity", "findings", to=[{"check": "state", "reason": "it replaced torch.relu."}]),
        "found: it replaced torch.relu.",
    ),
    "work not done": (put("timing", "undone", to="no timed call wrote its output"), "no timed call wrote its output"),
    "a reference slowed down": (put("integrity", "clean", to={"done": True, "charged": 1.5}), "1.5 times as large"),
    "a fault": (put("sanitizer", to={"verdict": "FAIL"}), "compute-sanitizer found a fault"),
    "a disturbed race": (
        put("timing", "evidence", "tries", 0, "reasons", to=["another process had the GPU open"]),
        "not to be trusted: another process had the GPU open",
    ),
    "a coarse timer": (put("timing", "tick_seconds", to=1e-6), "timing.evidence.tick_share is 0"),
    "one gate twice": (lambda record: record["gates"].append(record["gates"][0]), "one demand is one gate"),
    "another margin": (
        put("against", to={"revision": "v1", "commit": None, "margin": 0.01}),
        "the margin to the other revision 0.01",
    ),
    "samples of no digest": (drop("timing", "candidate", "samples", "digest"), "samples.digest is missing"),
    "no tries": (drop("timing", "evidence", "tries"), "timing.evidence.tries is missing"),
    "verdicts of no gate": (put("timing", "evidence", "tries", 0, "verdicts", to=[]), "its last race left none"),
    "no verdicts": (drop("timing", "evidence", "tries", 0, "verdicts"), "tries[0].verdicts is missing"),
    "no gate": (put("gates", to=[]), "its gates are none, and its last race left PASS, PASS"),
    "no check": (put("correctness", to=None), "correctness is missing, and it was raced"),
    "no findings": (put("integrity", to=None), "integrity is missing, and it was raced"),
    "no reference": (put("reference", to=None), "reference is missing, and it was raced"),
    "no p value": (drop("gates", 0, "p_value"), "gates[0].p_value is missing"),
    "another book of seeds": (drop("seeds", "book"), "seeds.book is not 2"),
}
"""Of a record that passes, and what is said of it."""


def test_what_speaks_against_a_verdict_can_be_neither_turned_nor_left_out() -> None:
    honest = passing_records()[0]
    assert [*lacking(honest), *complaints(honest)] == []
    for name, (edit, said) in EDITS.items():
        record = copy.deepcopy(honest)
        edit(record)
        assert any(said in clause for clause in (*lacking(record), *complaints(record))), name


def test_failed_gates_do_not_pass_as_a_selftest() -> None:
    record = raced("slower", SpeedGate(0.95), ratio=1.3)
    record |= {"verdict": "PASS", "reason": "", "selftest": {"killed": 0, "lived": [], "honest": "", "mutants": []}}
    assert any("it is of a self-test, which races nothing" in clause for clause in complaints(record))


def test_name_of_a_problem_has_its_shape_its_type_and_its_work() -> None:
    record = passing_records()[0]
    facts = {"name": "sdpa 1x8x64x64-causal float16", "shape": [1, 8, 64, 64], "causal": True, "dtype": "float16"}
    record["problem"] |= {**facts, "flops": 4.0 * 8 * 64 * (64 * 65 / 2)}
    assert list(complaints(record)) == []
    for name, said in (
        ("sdpa 4x32x4096x128-causal float16", "whose shape is [4, 32, 4096, 128]"),
        ("sdpa 1x8x64x64 float16", "whose causal is False"),
        ("sdpa 1x8x64x64-causal float32", "whose dtype is float32"),
        ("sdpa 1x8x64x64-window16-causal float16", "whose flops is"),
        ("sdpa 1x8xmany float16", "which is no attention"),
    ):
        record["problem"]["name"] = name
        assert said in next(complaints(record))


def test_limit_and_metric_are_what_was_counted() -> None:
    raw = {"dram__bytes_read.sum": 2e6, "dram__bytes_write.sum": 1e6, "sm__inst_executed.sum": 7.0}
    weights = {"gpu__time_duration.sum": 1e-6, "sm__cycles_elapsed.max": 1e3, "sm__cycles_active.avg": 500.0}
    launch: Any = {"kernel": "mine", "grid": [1, 1, 1], "block": [32, 1, 1], "metrics": {**weights, **raw}}
    arm = arm_counters([launch], "sm_90a", ["sm__inst_executed.sum"])
    counters: Any = {"state": "measured", "reason": "", "candidate": arm, "reference": None}
    bounds = read_bounds({"sm__inst_executed.sum": "<= 9"}, dram_bytes="<= 4 MB", duration="<= 2 us")
    record = passing_records()[0]
    record |= {"counters": counters, "limits": judge(bounds, counters, None, "sm_90a")}
    record["environment"]["gpu"] = {"capability": "9.0"}
    assert [limit["verdict"] for limit in record["limits"]] == ["PASS"] * 3
    assert list(complaints(record)) == []
    record["limits"][1] |= {"value": 2.0}
    assert list(complaints(record)) == ["limits[1].value is 2 MB, and its dram_bytes was counted as 3e+06"]
    arm["metrics"]["dram_bytes"]["value"] = 2e6  # there, too
    said = "counters.candidate.metrics.dram_bytes.value is 2000000, and its launches give 3000000"
    assert list(complaints(record)) == [said]


def test_one_race_is_no_other_tests_and_no_call_is_left_out() -> None:
    first, second, third = passing_records()
    assert list(of_all([first, second, third])) == []
    renamed = {**first, "test": second["test"]}
    assert list(of_all([first, renamed])) == [
        (second["test"], f"the samples of its candidate are those of {first['test']}")
    ]
    assert "its call 2 is there, and its call 1 is not" in dict(of_all([{**first, "call": 1}, third]))[first["test"]]
    failed = {**first, "verdict": "FAIL", "reason": "slower"}
    assert list(of_all([first, failed])) == [(first["test"], "two records of one call say different things of it")]
    assert merge([[first], [failed, first]]) == [first, failed]  # which the rules then see


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"rtol": 0.0', '"rtol": NaN', "NaN is no number of JSON"),
        ('"atol": 0.001', '"atol": 1e999', "1e999 is beyond all numbers"),
        ('"attempt": 1', f'"attempt": {"9" * 400}', "a whole number has 400 digits"),
        ('"verdict": "PASS"', '"verdict": "FAIL", "verdict": "PASS"', "the name 'verdict' stands twice"),
        ('"rtol": 0.0', '"rtol": -1.0', "correctness.rtol is -1.0, less than 0"),
        ('"confidence": 0.95', '"confidence": 1', "confidence is 1, not below 1"),
        ('"race": 77', '"race": "0x_1"', "seeds.race is not written as it must be"),
        ('"environment": {', '"environment": {"git": "clean", ', "its environment.git is no object"),
        ('"tries": [{', '"tries": [], "once": [{', "evidence.tries has 0 items"),
        ('"version": 1', '"version": true', "reads version 1"),
    ],
)
def test_file_of_records_says_each_thing_once_and_in_finite_numbers(old: str, new: str, said: str) -> None:
    text = json.dumps(document(passing_records()))
    assert old in text
    with pytest.raises(KgateError) as error:
        parse(text.replace(old, new, 1).encode(), Path("records.json"))
    assert said in error.value.what


def test_samples_are_as_many_as_they_say_and_nothing_behind_them() -> None:
    samples = passing_records()[0]["timing"]["candidate"]["samples"]
    packed = base64.b64decode(samples["data"])
    with pytest.raises(KgateError, match="are more than any race takes"):
        decode_samples({**samples, "shape": [10**6, 10**6]})
    for data in (packed + b"more", packed[:-4], zlib.compress(bytes(10**6)), zlib.compress(b"")):
        with pytest.raises(KgateError, match="can't be decoded"):
            decode_samples({**samples, "data": base64.b64encode(data).decode()})


def test_demand_that_any_answer_meets_or_a_lucky_try_is_not_what_a_policy_expects() -> None:
    record = passing_records()[0]
    text = f'[[expected]]\ntest = "{TEST_FILE}::*"\nbound = 0.95\natol = 1e-3\n[[speedup]]\nratio = 0.82\n'
    rules = policy.parse(text, "kgate-policy.toml")
    assert [rule.judge([record]).holds for rule in rules] == [True, True]
    loose = copy.deepcopy(record)
    loose["gates"][0]["confidence"] = 0.5
    loose["gates"][0]["ratio"]["high"] = 0.7995  # as an interval of 50 % would end
    wide = rules[1].judge([loose]).readings[0].found
    assert "0.7995" not in wide
    check = record["correctness"]
    for changed, said in (
        ({"attempt": 2}, "its gates demand 0.95"),
        ({"correctness": {**check, "by_equal": True}}, "the problem's own `equal`"),
        ({"correctness": {**check, "verdict": "FAIL"}}, "its check is FAIL"),
        ({"correctness": {**check, "rtol": 0.1}}, "0.1 of the exact answer"),
        ({"measured": {"rounds": 7, "not_looked_at": []}}, "nothing was judged"),
        ({"against": {"margin": 0.01}}, ""),
    ):
        finding = rules[0].judge([{**record, **changed}])
        assert not finding.holds
        assert any(said in reading.found for reading in finding.readings) or not said


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("[age]\ndays = inf", "days of age can't be that"),
        (f"[age]\ndays = {'9' * 400}", "days of age can't be that"),
        (f"[gates]\nat_least = {'9' * 400}", "at_least of gates can't be that"),
        ('[[expected]]\ntest = "*"\nbound = inf', "bound of expected can't be that"),
        ("[[counter]]\nname = 'sm'\nat_most = nan", "at_most of counter can't be that"),
        (f"[age]\ndays = {'9' * 5000}", "this is no TOML"),
        ("a = " + "[" * 5000, "this is no TOML"),
    ],
)
def test_policy_of_numbers_that_demand_nothing_says_which_line(rule: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        policy.parse(rule, "kgate-policy.toml")


def test_submodule_that_its_own_settings_hide_is_another_file(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitmodules").write_text('[submodule "vendor"]\n\tpath = vendor\n\turl = x\n\tignore = all\n')
    commits = []
    for commit in ("1" * 40, "2" * 40):
        git(tmp_path, "update-index", "--add", "--cacheinfo", f"160000,{commit},vendor")
        git(tmp_path, "add", ".gitmodules")
        git(tmp_path, "commit", "-qm", "vendor")
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    assert provenance.changed(tmp_path, *commits) == ["vendor"]


def test_record_is_held_to_its_files_whatever_it_writes_there(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / TEST_FILE).write_text("# a test")
    (tmp_path / "loop").symlink_to("loop")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    checkout = Checkout(tmp_path, head, frozenset())
    sources = {TEST_FILE: digest_of(tmp_path, TEST_FILE)}
    record = passing_records()[0]

    clean = {"commit": head, "dirty": False}

    def said(sources: Any, git: Any = clean, **candidate: Any) -> str:
        environment = {**record["environment"], "git": git}
        own = {**record["candidate"], **candidate}
        return "\n".join(
            checkout.complaints({**record, "environment": environment, "sources": sources, "candidate": own})
        )

    assert said(sources) == ""
    assert "does not name the file of its test" in said({})
    for odd in ("a\0b", "x" * 5000, "loop", "../outside", "/dev/zero"):
        assert "is another here" in said({**sources, odd: "0" * 32})
    assert "it names no commit" in said(sources, git=None)
    assert "not in this repository" in said(
        sources, git={"commit": git(tmp_path, "rev-parse", "HEAD^{tree}"), "dirty": False}
    )
    assert "from a source that it does not name" in said(sources, source_hash="0" * 64)
    assert "from the wmma of this pytest-kgate" in said(sources, source_hash="0" * 64, implementation="wmma")

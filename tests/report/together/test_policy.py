"""`kgate verify`: one file of rules for merging, each of which says what it read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sample_records import error_record
from sample_records import speed_record
from sample_records import wrong_record

from pytest_kgate import cli
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.values import now
from pytest_kgate.report.together.policy import file as policy
from pytest_kgate.statistics.gates import SpeedGate


def on(record: Any, *extents: int, **facts: Any) -> Any:
    """The record, of another problem."""
    name = "x".join(map(str, extents))
    problem = {**record["problem"], "shape": list(extents), "causal": False, "name": f"sdpa {name}"}
    return {**record, "test": f"{record['test']}[{name}]", "problem": problem, **facts}


FAST = speed_record(ratio=0.8)
SLOW = speed_record(ratio=0.93)
THREE = [on(FAST, 1, 8, 512, 64), on(FAST, 2, 8, 1024, 64), on(SLOW, 2, 8, 2048, 64)]


def judged(tmp_path: Path, text: str, records: Any) -> list[Any]:
    path = tmp_path / "kgate-policy.toml"
    path.write_text(text)
    return [rule.judge(records) for rule in policy.read(path)]


@pytest.mark.parametrize(
    ("text", "records", "holds"),
    [
        ("[[speedup]]\nratio = 0.9\non = 2", THREE, True),
        ("[[speedup]]\nratio = 0.9\non = 3", THREE, False),
        ("[[speedup]]\nratio = 0.9", THREE, False),
        ("[[speedup]]\nratio = 0.95", THREE, True),
        ("[[speedup]]\nratio = 0.9\non = 2", [THREE[0], {**THREE[0], "test": "again"}], False),
        ('[[speedup]]\nratio = 0.9\non = 2\ngrid = "canonical"', [THREE[0], on(FAST, 3, 8, 512, 64)], False),
        ('[[speedup]]\nratio = 0.9\ngrid = "canonical"', [THREE[0], on(SLOW, 3, 8, 512, 64)], True),
        ('[[speedup]]\nratio = 0.9\ncandidate = "mma*"', THREE, False),
        ("[[speedup]]\nratio = 0.9", [], False),
        ("[[speedup]]\nratio = 0.9", [FAST, wrong_record()], False),
        ("[[speedup]]\nratio = 0.9", [FAST, error_record()], False),
        ("[[speedup]]\nratio = 1.05\nquantile = 0.9", [FAST], True),
        ("[[speedup]]\nratio = 0.7\nquantile = 0.9", [FAST], False),
        ("[[speedup]]\nratio = 1.05\nquantile = 0.9", [error_record()], False),
        ("[[speedup]]\nratio = 0.7\nquantile = 0.9", [speed_record(bounds=(SpeedGate(1, quantile=0.9),))], True),
        ("[[speedup]]\nratio = 1.05\nquantile = 0.9", [{**FAST, "isolation": {}}], False),
        ("[resources]\nspill_bytes = 0\nregisters = 128", [FAST], True),
        ("[resources]\nregisters = 127", [FAST], False),
        ("[resources]\nstack_bytes = 0", [FAST], False),
        ("[gates]\nat_least = 3", THREE, True),
        ("[gates]\nat_least = 4", THREE, False),
        ("[gates]\nat_least = 1", [FAST, wrong_record()], False),
        ("[gates]\nat_least = 1\npassing = false", [FAST, wrong_record()], True),
        ('[[expected]]\ntest = "tests/*::test_wmma*"\nat_least = 3\nbound = 0.95\natol = 2e-3', THREE, True),
        ('[[expected]]\ntest = "tests/*::test_wmma*"\nat_least = 4', THREE, False),
        ('[[expected]]\ntest = "tests/*::test_wmma*"\nbound = 0.9', THREE, False),
        ('[[expected]]\ntest = "tests/*::test_wmma*"\natol = 1e-3', THREE, False),
        ('[[expected]]\ntest = "tests/*"', [FAST, error_record()], False),
        ('[[expected]]\ntest = "tests/test_attention.py::test_wmma"', [FAST], False),  # brackets are of the name
        ("[age]\ndays = 1", THREE, False),
        ("[age]\ndays = 1", [{**FAST, "started": now()}], True),
        ("[age]\ndays = 1", [{**FAST, "started": "2999-01-01T00:00:00+00:00"}], False),
        ("[age]\ndays = 1", [{**FAST, "started": "yesterday"}], False),
        ("[checks]", [FAST], True),
        ("[checks]", [{**FAST, "verdict": "WEAK"}], False),
        ("[checks]", [error_record()], False),
        ("[checks]", [FAST, error_record()], False),
        ('[checks]\ncandidate = "mma*"', [FAST], False),
        ('[checks]\ncandidate = "wm*"', [FAST], True),
        ("[checks]\nsanitizer = true", [{**FAST, "sanitizer": {"verdict": "FAIL"}}], False),
        ("[checks]\nsanitizer = true\nweak = true", [{**FAST, "sanitizer": {"verdict": "PASS"}}], True),
        ("[checks]\nsanitizer = true", [FAST], False),
        ("[checks]\nsanitizer = true", [{**FAST, "sanitizer": {"verdict": "PASS"}}], True),
    ],
)
def test_rule_holds_where_the_records_say_so(tmp_path: Path, text: str, records: Any, holds: bool) -> None:
    (finding,) = judged(tmp_path, text, records)
    assert finding.holds == holds, finding


@pytest.mark.parametrize(
    ("bound", "on_", "holds"),
    [("at_least = 70", '"all"', False), ("at_least = 70", "1", True), ("at_most = 90", '"all"', True)],
)
def test_counters_are_read_on_as_many_problems_as_asked(tmp_path: Path, bound: str, on_: str, holds: bool) -> None:
    def busy(percent: float) -> Any:
        metrics = {"sm": {"value": percent, "unit": "%", "raw": "sm"}}
        return {"state": "measured", "reason": "", "candidate": {"metrics": metrics}}

    records = [on(FAST, 1, 8, 512, 64, counters=busy(85.0)), on(FAST, 2, 8, 1024, 64, counters=busy(40.0))]
    (finding,) = judged(tmp_path, f'[[counter]]\nname = "sm"\n{bound}\non = {on_}', records)
    assert finding.holds == holds
    said = {text for _, text in finding.told(2)}
    assert said == {"wmma on sdpa 1x8x512x64: 85 %", "wmma on sdpa 2x8x1024x64: 40 %"}
    (unknown,) = judged(tmp_path, f'[[counter]]\nname = "smm"\n{bound}', records)
    assert not unknown.holds
    assert unknown.told(2) == [(False, "wmma on sdpa 1x8x512x64 and 1 more: no smm. Did you mean 'sm'?")]
    (none,) = judged(tmp_path, f'[[counter]]\nname = "sm"\n{bound}', [FAST])
    assert none.told(1)[0][1].endswith("no counters: `--kgate-profile` reads them")


@pytest.mark.parametrize(
    ("conflicts", "passes", "holds", "said"),
    [
        (10, 1000, True, "0.01, 10 conflicts of 1000 wavefronts"),
        (300, 1000, False, "0.3, 300 conflicts of 1000 wavefronts"),
        (0, 0, True, "0, 0 conflicts of 0 wavefronts"),
        (10, None, False, "no shared_wavefronts. `--kgate-profile-counters all` reads more."),
        (10, -1000, False, "no share: a counter below 0"),
    ],
)
def test_conflicts_are_large_or_not_as_a_share_of_all_passes(
    tmp_path: Path, conflicts: float, passes: float | None, holds: bool, said: str
) -> None:
    metrics = {"bank_conflicts": {"value": conflicts, "unit": "conflicts"}}
    if passes is not None:
        metrics["shared_wavefronts"] = {"value": passes, "unit": "wavefronts"}
    record = {**FAST, "counters": {"state": "measured", "reason": "", "candidate": {"metrics": metrics}}}
    policy = '[[counter]]\nname = "bank_conflicts"\nof = "shared_wavefronts"\nat_most = 0.1'
    (finding,) = judged(tmp_path, policy, [record])
    assert finding.holds == holds
    assert said in finding.told(1)[0][1]
    assert finding.demanded == "bank_conflicts / shared_wavefronts at most 0.1 on all"


def test_bytes_are_no_share_of_conflicts(tmp_path: Path) -> None:
    metrics = {"bank_conflicts": {"value": 1, "unit": "conflicts"}, "dram_bytes": {"value": 1e9, "unit": "bytes"}}
    record = {**FAST, "counters": {"state": "measured", "reason": "", "candidate": {"metrics": metrics}}}
    policy = '[[counter]]\nname = "bank_conflicts"\nof = "dram_bytes"\nat_most = 0.1'
    (finding,) = judged(tmp_path, policy, [record])
    assert not finding.holds
    assert "no share: conflicts of bytes" in finding.told(1)[0][1]


def test_race_against_another_revision_is_a_gate_and_no_speedup(tmp_path: Path) -> None:
    old = {**FAST, "call": 100, "against": {"margin": 0.01}}
    text = "[[speedup]]\nratio = 0.9\non = 1\n[gates]\nat_least = 1"
    assert [one.holds for one in judged(tmp_path, text, [old])] == [False, True]
    unraced = {**old, "verdict": "NOT MEASURED", "gates": [], "reason": "no such file then"}
    assert [one.holds for one in judged(tmp_path, text, [FAST, unraced])] == [True, True]
    assert [one.holds for one in judged(tmp_path, text, [FAST, {**old, "verdict": "FAIL"}])] == [True, False]


def test_last_run_of_a_test_that_was_run_again_counts(tmp_path: Path) -> None:
    tries = [SLOW, {**FAST, "attempt": 2}]
    assert judged(tmp_path, "[[speedup]]\nratio = 0.9\n[gates]\nat_least = 1", tries)[0].holds
    assert not judged(tmp_path, "[[speedup]]\nratio = 0.9", [*tries[::-1], {**SLOW, "attempt": 3}])[0].holds
    assert not judged(tmp_path, "[gates]\nat_least = 2", tries)[0].holds
    other = {**SLOW, "environment": {**SLOW["environment"], "gpu": {"uuid": "GPU-9"}}}
    assert not judged(tmp_path, "[[speedup]]\nratio = 0.9", [*tries, other])[0].holds


def test_shape_of_a_grid_is_itself_and_none_with_fewer_heads(tmp_path: Path) -> None:
    problem = {**FAST["problem"], "name": "sdpa 1x8x512x64-kvheads2 float16"}
    (finding,) = judged(tmp_path, '[[speedup]]\nratio = 0.9\ngrid = "canonical"', [{**FAST, "problem": problem}])
    assert finding.told(1) == [(False, "no record is of that")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n[[speedups]]\nratio = 1", "line 2: 'speedups' is no rule. Did you mean 'speedup'?"),
        ("[[speedup]]\nratio = 1\nquantle = 0.9", "line 3: speedup has no key 'quantle'. Did you mean 'quantile'?"),
        ("[[speedup]]\non = 2", "line 1: speedup lacks 'ratio'."),
        ('[[speedup]]\nratio = "0.9"', "line 2: ratio of speedup can't be that."),
        ("[[speedup]]\nratio = 1\non = 0", "line 3: on of speedup can't be that."),
        ("[[speedup]]\nratio = true", "line 2: ratio of speedup can't be that."),
        ('[[speedup]]\nratio = 1\ngrid = "canonicl"', "line 3: 'canonicl' is no grid. Did you mean 'canonical'?"),
        ('[[counter]]\nname = "sm"', "line 1: counter demands nothing."),
        ("[resources]\nregister = 3", "line 2: resources has no key 'register'. Did you mean 'registers'?"),
        ("[resources]", "line 1: resources demands nothing."),
        ("gates = 3", "line 1: gates is no table."),
        ("[checks]\nweak = true", "line 1: checks demands nothing."),
        ('[[counter]]\nname = "sm"\nat_least = 9\nat_most = 8', "line 1: no counter is at least 9 and at most 8."),
        ('[[counter]]\nname = "sm"\nof = "sm"\nat_most = 1', "line 1: sm is all of itself."),
        ("[gates]\nat_least = [1]", "line 2: at_least of gates can't be that."),
        ("[gates\n", "line 1: this is no TOML"),
        ("# nothing", "demands nothing."),
    ],
)
def test_typo_is_named_with_its_line_and_key(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kgate-policy.toml"
    path.write_text(text)
    assert cli.main(["verify", "records.json", "--policy", str(path)]) == 2
    what, todo = capsys.readouterr().err.splitlines()
    assert said in what
    assert todo


def test_verb_says_what_each_rule_read_and_tells_by_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("records.json").write_text(json.dumps(document(THREE)))
    Path("kgate-policy.toml").write_text("[[speedup]]\nratio = 0.9\non = 2\n")
    assert cli.main(["verify", "records.json"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "holds  line 1, speedup: the whole interval of the ratio below 0.9 on at least 2 problems"
    assert rest[0].startswith("         yes wmma on sdpa 1x8x512x64 and 1 more: 0.8")
    assert rest[1].startswith("         no  wmma on sdpa 2x8x2048x64: 0.9")
    assert rest[-1] == "1 rule: all hold"
    Path("kgate-policy.toml").write_text("[[speedup]]\nratio = 0.9\n\n[gates]\n")
    assert cli.main(["verify", "records.json"]) == 1
    text = capsys.readouterr().out
    assert "BROKEN line 1, speedup: the whole interval of the ratio below 0.9 on all" in text
    assert "holds  line 4, gates: at least 1 gate, and all pass; there are 3" in text
    assert text.endswith("2 rules: 1 broken\n")
    whole = json.dumps(document([]))
    Path("records.json").write_text(whole.removesuffix("]}") + '\n{"test": ')
    assert cli.main(["verify", "records.json"]) == 2


def test_step_of_ci_is_told_of_the_policy_and_of_its_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("records.json").write_text(json.dumps(document(THREE)))
    Path("kgate-policy.toml").write_text("[[speedup]]\nratio = 0.9\n\n[gates]\n")
    assert cli.main(["verify", "records.json"]) == 1
    told = Path("summary.md").read_text().splitlines()
    assert told[0] == "#### \N{CROSS MARK} policy: 1 of 2 rules broken"
    assert told[2].startswith("- **broken**: line 1, speedup")
    assert told[3].startswith("  - wmma on sdpa 2x8x2048x64: 0.9")
    assert told[-3].startswith("- holds: line 4, gates: at least 1 gate, and all pass; there are 3")
    assert told[-2] == "  - wmma on sdpa 1x8x512x64 and 2 more: 1 gate, PASS"
    Path("kgate-policy.toml").write_text("[[speedups]]\nratio = 0.9")
    assert cli.main(["verify", "records.json"]) == 2
    assert "policy: it could not be read\n\n- **broken**: kgate-policy.toml, line 1:" in Path("summary.md").read_text()
    capsys.readouterr()
    report = ["report", "records.json", "--format", "comment", "--policy", "kgate-policy.toml"]
    assert cli.main([*report, "--session-status", "0"]) == 2
    said = capsys.readouterr()
    assert "### \N{CROSS MARK} kgate: all 3 gates pass, but the policy is broken\n" in said.out
    assert "policy: it could not be read" in said.out
    assert "'speedups' is no rule" in said.err
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "no/folder/summary.md")
    Path("kgate-policy.toml").write_text("[gates]")
    assert cli.main(["verify", "records.json"]) == 0
    assert "the step's summary was not written to no/folder/summary.md" in capsys.readouterr().err


def test_example_of_the_documentation_is_a_policy(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "ci.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    kinds = [finding.rule for finding in judged(tmp_path, text, THREE)]
    assert kinds == ["speedup", "speedup", "counter", "counter", "resources", "gates", "checks"]


def test_policy_that_is_missing_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", "records.json", "--policy", str(tmp_path / "gone.toml")]) == 2
    assert "gone.toml can't be read: No such file or directory." in capsys.readouterr().err

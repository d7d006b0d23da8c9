"""What counts as a lie, how many are too many, and what a model of a spin kernel says."""

from __future__ import annotations

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.validation.calibrate.cases import BEHIND_A_GRAPH
from pytest_kgate.validation.calibrate.cases import catalogue
from pytest_kgate.validation.calibrate.cases import named
from pytest_kgate.validation.calibrate.cases import select
from pytest_kgate.validation.calibrate.cases import side_by_side
from pytest_kgate.validation.calibrate.file import Calibrations
from pytest_kgate.validation.calibrate.findings.error_rates import excess_p_value
from pytest_kgate.validation.calibrate.findings.error_rates import most_allowed
from pytest_kgate.validation.calibrate.findings.findings import findings_of
from pytest_kgate.validation.calibrate.rigs.spin_model import LaunchFloor
from pytest_kgate.validation.calibrate.rigs.spin_model import SpinModel
from pytest_kgate.validation.calibrate.rigs.spin_model import mean_model
from pytest_kgate.validation.calibrate.run.protocol import Extent
from pytest_kgate.validation.calibrate.run.protocol import next_job
from pytest_kgate.validation.calibrate.run.protocol import targets
from pytest_kgate.validation.calibrate.tables import tables
from pytest_kgate.validation.calibrate.tables.p_values import ascii_histogram
from pytest_kgate.validation.calibrate.tables.p_values import draw
from pytest_kgate.validation.calibrate.tables.show import terminal_text

AA = [case.name for case in catalogue("cuda") if case.group == "aa"]


def gate(case, verdict="INCONCLUSIVE", estimate=1.0, half=0.002, look=3, **more):
    return {
        "case": case,
        "verdict": verdict,
        "ratio": {
            "low": estimate * (1 - half),
            "estimate": estimate,
            "high": estimate * (1 + half),
            "confidence": 0.95,
        },
        "look": look,
        "reference_seconds": 1e-5,
        "candidate_seconds": 1e-5 * estimate,
        "seconds": 0.5,
        **more,
    }


def gates(case, passed=0, failed=0, undecided=0):
    verdicts = ["PASS"] * passed + ["FAIL"] * failed + ["INCONCLUSIVE"] * undecided
    return [gate(case, verdict) for verdict in verdicts]


def known(case, estimate, truth, verdict):
    spin = {
        "true_ratio": truth,
        "floor_seconds": [1e-6, 1.2e-6],
        "null_seconds": [0.9e-6, 1e-6],
        "clock_hz": [2e9, 2e9],
        "candidate_model_seconds": truth * 1e-5,
        "reference_model_seconds": 0.99e-5,
    }
    return gate(case, verdict, estimate, spin=spin)


def check(found, name):
    return {one.name: one for one in (*found.acceptance, *found.goals)}[name]


def test_thirty_five_of_a_thousand_may_err_and_of_fewer_what_chance_explains():
    assert most_allowed(1000) == 35
    assert most_allowed(2000) == 70
    for gates_run in (20, 56, 300):
        allowed = most_allowed(gates_run)
        assert excess_p_value(allowed, gates_run) >= 0.01 > excess_p_value(allowed + 1, gates_run)
    assert most_allowed(0) == 0


@pytest.mark.parametrize("side", ["passed", "failed"])
def test_one_lie_too_many_is_not_accepted(side):
    for false, accepted in ((35, True), (36, False)):
        content = []
        for index, name in enumerate(AA):
            lies = false // len(AA) + (index < false % len(AA))
            content += gates(name, **{side: lies}, undecided=1000 // len(AA) + (index < 1000 % len(AA)) - lies)
        found = findings_of(content, catalogue("cuda"))
        assert (found.overall.judged, found.accepted) == (1000, accepted)


def test_a_single_case_that_lies_is_found_among_many_that_do_not():
    content = [one for name in AA for one in gates(name, undecided=140)]
    found = findings_of([*content, *gates("aa-gemm", passed=12)], catalogue("cuda"))
    assert check(found, "false PASS of equal kernels").met
    assert not check(found, "false PASS by case").met
    assert "aa-gemm 12 of 152" in check(found, "false PASS by case").detail
    assert not found.accepted


def test_gates_that_judge_nothing_do_not_make_a_device_accepted():
    broken = [{"case": "aa-gemm", "verdict": verdict, "seconds": 0.1} for verdict in ("INVALID", "ERROR")] * 10
    assert not findings_of(broken, catalogue("cuda")).accepted
    assert not findings_of([*gates("aa-gemm", undecided=100), *broken], catalogue("cuda")).accepted
    assert findings_of([*gates("aa-gemm", undecided=500), *broken], catalogue("cuda")).accepted
    assert not findings_of([], catalogue("cuda")).accepted


def test_case_that_the_device_lacks_counts_nowhere_and_is_named():
    lacking = {"case": "aa-sdpa-flash", "verdict": "UNAVAILABLE", "reason": "No flash.\nUse another.", "seconds": 0.0}
    content = [*gates("aa-gemm", undecided=10), lacking]
    found = findings_of(content, catalogue("cuda"))
    assert (found.overall.gates, found.accepted) == (10, True)
    assert tables.unavailable_lines(content) == ["aa-sdpa-flash can't run here: No flash. Use another"]


def test_kernel_that_must_fail_may_not_pass():
    content = gates("aa-gemm", undecided=50)
    wrong = [known("truth-spin-10us-0.955", 0.94, 0.955, "PASS")] * 5
    right = [known("truth-spin-10us-0.955", 0.955, 0.955, "FAIL")] * 5
    assert not findings_of([*content, *wrong], catalogue("cuda")).accepted
    assert findings_of([*content, *right], catalogue("cuda")).accepted


def test_accuracy_is_against_the_truth_of_each_gate_and_bias_against_the_model():
    (one,) = findings_of([known("truth-spin-10us-0.93", 0.9327, 0.93, "PASS")] * 3, catalogue("cuda")).accuracy
    assert one.error == pytest.approx(0.0029, abs=1e-4)
    assert one.accurate
    assert one.reference_bias_seconds == pytest.approx(0.1e-6)
    assert one.floor_seconds == pytest.approx(1.1e-6)
    (off,) = findings_of([known("truth-spin-10us-0.93", 0.9330, 0.93, "PASS")], catalogue("cuda")).accuracy
    assert not off.accurate
    (short,) = findings_of([known("truth-spin-2us-0.93", 0.9330, 0.93, "PASS")], catalogue("cuda")).accuracy
    assert short.accurate


def test_noise_floor_is_that_of_full_races_and_the_resolved_effect_lies_beyond_it():
    content = [gate("aa-gemm", half=0.002) for _ in range(9)] + [gate("aa-gemm", "PASS", half=0.02, look=0)]
    (one,) = findings_of(content, catalogue("cuda")).same
    assert one.half_width == pytest.approx(0.002)
    # c is 2.344 and t(11) at .9 is 1.363
    assert one.resolved == pytest.approx(0.002 * (1 + 1.363 / 2.344), rel=0.001)


def test_truth_of_spin_kernels_includes_the_launch_floor():
    model = SpinModel(floor_seconds=1e-6, clock_hz=2e9)
    assert model.reading(2000) == pytest.approx(2e-6)
    assert model.ratio(1000, 2000) == pytest.approx(0.75)
    reference = model.cycles_for(10e-6)
    assert reference == 18_000
    assert model.ratio(model.cycles_for(0.93 * model.reading(reference)), reference) == pytest.approx(0.93, abs=1e-4)
    assert model.cycles_for(0.5e-6) > 0


@pytest.mark.parametrize("floor_seconds", [0.0, 1.3e-6, 1.99e-6, 5e-6])
@pytest.mark.parametrize("ratio", [0.93, 0.97])
def test_spins_of_known_ratio_keep_it_where_the_launch_floor_is_as_long(floor_seconds, ratio):
    model, spread = SpinModel(floor_seconds, 1.98e9), 317
    candidate, reference = model.pair(2e-6, ratio, spread)
    assert min(candidate, reference) >= spread  # a launch that is shorter by `spread` has cycles left
    assert model.ratio(candidate, reference) == pytest.approx(ratio, abs=1e-3)
    assert floor_seconds > 1.5e-6 or model.reading(reference) == pytest.approx(2e-6, rel=1e-3)


def test_model_of_a_gate_is_the_mean_of_before_and_after():
    model = mean_model((LaunchFloor(1e-6, 0.9e-6), LaunchFloor(1.2e-6, 1e-6)), (1.9e9, 2.1e9))
    assert (model.floor_seconds, model.clock_hz) == (pytest.approx(1.1e-6), pytest.approx(2e9))


def test_cases_are_chosen_by_group_name_or_pattern():
    cases = catalogue("cuda")
    assert [case.name for case in select(cases, "aa")] == AA
    assert [case.name for case in select(cases, "aa-gemm, truth-spin-2us-*")][:2] == ["aa-gemm", "truth-spin-2us-0.93"]
    assert select(cases, "") == cases
    with pytest.raises(UsageError, match="aa-gem'"):
        select(cases, "aa-gem")
    assert named("cuda", BEHIND_A_GRAPH.name) in side_by_side("cuda")


def test_gates_are_spread_evenly_and_what_is_missing_comes_first():
    cases = catalogue("cuda")
    wanted = targets(cases, Extent(20, 50, 15))
    equal = [wanted[name] for name in AA]
    assert sum(equal) == 1000
    assert max(equal) - min(equal) <= 1
    assert {wanted[case.name] for case in cases if case.group == "truth"} == {20}
    missing = wanted.copy()
    missing.subtract({"aa-gemm": wanted["aa-gemm"]})
    job = next_job(missing, cases, Extent(20, 50, 15), seed=42, process=3)
    assert len(job) == 65
    assert "aa-gemm" not in job
    assert job == next_job(missing, cases, Extent(20, 50, 15), seed=42, process=3)
    assert job != next_job(missing, cases, Extent(20, 50, 15), seed=42, process=4)


def test_histogram_marks_what_chance_gives():
    drawing = ascii_histogram([index / 100 for index in range(100)])
    rows = drawing.splitlines()[1:-1]
    assert len(rows) == 10
    assert len({row.index("|") for row in rows}) == 1
    assert "below 0.025: 3.0 %" in drawing
    assert ascii_histogram([]) == ""


def test_plot_is_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "p.png"
    draw(path, {"aa-gemm": [0.1, 0.5, 0.9], "aa-spin-2us": [0.2, 0.4]})
    assert path.read_bytes().startswith(b"\x89PNG")


def test_columns_of_the_table_are_explained_where_they_are_shown():
    shown = Calibrations(None, {"kind": "cuda"}, "today")
    for one in gates(AA[0], undecided=4):
        shown.add("gates", one)
    for width in (60, 70, 80, 120):
        text = terminal_text(shown, width, False)
        head = next(line for line in text.splitlines() if line.startswith("equal kernels"))
        for column in ("noise floor", "resolved"):
            assert (column in head) == (f"{column}:" in " ".join(text.split())), (column, width)
    assert "noise floor" in head

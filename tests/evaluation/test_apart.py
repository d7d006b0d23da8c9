"""`kgate measure` and `kgate gate`: arms that are measured apart, and records that are judged again."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sample_records import against_record
from sample_records import session
from sample_records import speed_record

from pytest_kgate import Problem
from pytest_kgate import cli
from pytest_kgate import shapes
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import Mixture
from pytest_kgate.device.fake.noise import RaceOffset
from pytest_kgate.device.fake.noise import RoundOffset
from pytest_kgate.device.fake.noise import White
from pytest_kgate.errors import KgateError
from pytest_kgate.evaluation.apart.measurement import Measurement
from pytest_kgate.evaluation.apart.measurement import Run
from pytest_kgate.evaluation.apart.measurement import load
from pytest_kgate.evaluation.apart.measurement import save
from pytest_kgate.evaluation.apart.measuring import measure
from pytest_kgate.evaluation.apart.profiled import session_of
from pytest_kgate.problems.grids.shape_text import parse_shape
from pytest_kgate.report.record.file import RecordFile

RELU = Problem("relu 8 float32", lambda generator: (torch.randn(8, generator=generator),), torch.relu, exact=torch.relu)

GPU = {"gpu": {"name": "NVIDIA H100", "uuid": "GPU-1", "driver": "580.1"}, "device": "cuda", "cuda_runtime": "13.0"}

QUIET = Mixture((White(0.003), RoundOffset(0.003), RaceOffset(0.002)))


def measured(seconds: float, processes: int = 1, name: str = "mine", seed: int = 0) -> Measurement:
    """On the fake device, each process with an offset of its own."""
    found = [
        measure(
            name,
            torch.relu,
            RELU,
            FakeDevice({"candidate": seconds}, QUIET, seed=100 * seed + number),
            samples=240,
            warmup=20,
            seed=number,
            checked=True,
        )
        for number in range(processes)
    ]
    return replace(found[0].with_runs_of(found[1:]), environment=GPU)


def files(folder: Path, reference: Measurement, candidate: Measurement) -> list[str]:
    paths = [folder / "sdpa.json", folder / "mine.json"]
    for path, one in zip(paths, (reference, candidate), strict=True):
        save(path, [one])
    return [str(path) for path in paths]


def test_measurement_is_what_the_clock_says_and_survives_its_file(tmp_path: Path) -> None:
    one = measured(1e-5)
    assert one.warmup_rounds == 2
    assert one.runs[0].samples.shape == (24, 10)
    assert np.median(one.runs[0].samples) == pytest.approx(1e-5, rel=0.02)
    save(tmp_path / "one.json", [one])
    (again,) = load(tmp_path / "one.json")
    assert (again.runs[0].samples == one.runs[0].samples).all()
    assert replace(again, runs=()) == replace(one, runs=())


@pytest.mark.parametrize("processes", [1, 5])
@pytest.mark.parametrize(("ratio", "verdict", "status"), [(0.8, "PASS", 0), (1.0, "FAIL", 1)])
def test_a_win_passes_and_a_kernel_against_itself_does_not(tmp_path, capsys, processes, ratio, verdict, status) -> None:
    reference = measured(1e-5, processes, "sdpa flash", seed=1)
    given = files(tmp_path, reference, measured(ratio * 1e-5, processes, seed=2))
    assert cli.main(["gate", *given, "--speedup", "0.95", "--alpha", "0.05"]) == status
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"{verdict}: mine against sdpa flash on relu 8 float32")
    assert "share no rounds" in said
    assert ("its error rate is not controlled" in said) == (processes == 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"timer": "queue"}, "differ in their timer on relu 8 float32: the candidate's is queue"),
        ({"cache": "cold"}, "differ in their cache"),
        ({"problem": "relu 9 float32"}, "are about different problems: relu 9 float32 is of the candidate alone"),
        ({"environment": {**GPU, "gpu": {**GPU["gpu"], "name": "NVIDIA L4"}}}, "differ in their GPU"),
        ({"environment": {**GPU, "gpu": {**GPU["gpu"], "uuid": "GPU-2"}}}, "differ in their card"),
        ({"environment": {**GPU, "gpu": {**GPU["gpu"], "driver": "550.1"}}}, "reference's 580.1"),
        ({"environment": {"device": "host"}}, "differ in their device"),
        ({"runs": (Run("now", 1, np.full((11, 10), 1e-5)),)}, "a verdict takes 12"),
    ],
)
def test_measurements_that_do_not_compare_are_refused_by_what_differs(tmp_path, capsys, change, said) -> None:
    one = measured(1e-5)
    assert cli.main(["gate", *files(tmp_path, one, replace(one, **change))]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"arm": "sdpa cudnn"}, {"timer": "queue"}])
def test_processes_that_measured_different_things_are_not_put_together(change) -> None:
    one = measured(1e-5, name="sdpa flash")
    with pytest.raises(KgateError, match="The processes measured different things on relu 8 float32: sdpa flash"):
        one.with_runs_of([replace(one, **change)])


def recorded(path: Path, *records) -> str:
    file = RecordFile(path)
    for record in records:
        file.append(record)
    file.close()
    return str(path)


def test_recorded_races_are_judged_again_and_the_demand_is_said_to_come_late(tmp_path, capsys) -> None:
    path = recorded(tmp_path / "records.json", speed_record(ratio=0.8))
    assert cli.main(["gate", path, "--speedup", "0.9"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("PASS: tests/test_attention.py::test_wmma[1x8x512x64]\n  demanded  latency ratio below 0.90")
    assert "The demand came after the data" in said
    assert cli.main(["gate", path, "--speedup", "0.7"]) == 1
    assert "FAIL: " in capsys.readouterr().out


@pytest.mark.parametrize(("slowed", "verdict"), [(1.05, "PASS"), (1.2, "INVALID"), (None, "INVALID")])
def test_an_isolated_candidate_is_charged_what_it_slowed_the_reference_by(tmp_path, capsys, slowed, verdict) -> None:
    isolation = {"confined": None, "launched_by": "candidate", "calls_in_a_row": 4, "verified": 12}
    record = {**speed_record(ratio=0.8), "isolation": {**isolation, "reference_slowed": slowed}}
    cli.main(["gate", recorded(tmp_path / "records.json", record), "--speedup", "0.9"])
    assert capsys.readouterr().out.startswith(f"{verdict}: ")


def test_races_against_another_revision_are_left_out_and_counted(tmp_path, capsys) -> None:
    path = recorded(tmp_path / "records.json", speed_record(ratio=0.8), against_record(ratio=1.0))
    assert cli.main(["gate", path, "--speedup", "0.9"]) == 0
    assert "Left out: 1 record of races against another revision" in capsys.readouterr().out
    assert cli.main(["gate", recorded(tmp_path / "others.json", against_record()), "--speedup", "0.9"]) == 2
    assert "has no races but those against another revision" in capsys.readouterr().err


def test_what_a_recorded_pass_did_not_rest_on_passes_no_other_demand(tmp_path, capsys) -> None:
    record = speed_record(ratio=0.8)  # against 0.95
    timing, check = record["timing"], record["correctness"]
    clock = "the clock stepped within rounds, by 3 % of a ratio"
    tried = {**timing, "evidence": {"tries": [{"seed": 42, "reasons": [clock]}]}}
    slowed = {"checks": {}, "findings": [], "kernels": None, "host_seconds": None, "floor_seconds": None}
    disturbed = {"timing": tried, "warnings": [f"{clock}: too little to turn the verdict"]}
    for changes, bound, said in (
        ({}, 0.9, "PASS: "),
        (disturbed, 0.9, "INVALID: "),
        (disturbed, 0.95, "PASS: "),
        ({**disturbed, "warnings": [f"{clock}: accepted, as asked"]}, 0.9, "PASS: "),
        ({"integrity": {**slowed, "seconds_spent": 1.0, "clean": {"done": True, "charged": 1.1}}}, 0.85, "INVALID: "),
        (
            {"verdict": "MEASURED", "gates": [], "correctness": {**check, "verdict": "FAIL", "reason": "off"}},
            1,
            "WRONG: ",
        ),
    ):
        cli.main(["gate", recorded(tmp_path / "records.json", {**record, **changes}), "--speedup", str(bound)])
        assert capsys.readouterr().out.startswith(said), (changes, bound)


def test_records_without_a_trusted_race_keep_their_verdict(tmp_path, capsys) -> None:
    assert cli.main(["gate", recorded(tmp_path / "records.json", *session()), "--speedup", "100"]) == 1
    said = capsys.readouterr().out
    assert "INVALID: tests/test_attention.py::test_wmma[1x8x64x64], whatever is demanded" in said
    assert "WRONG: tests/test_attention.py::test_broken[1x8x512x64], whatever is demanded" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("measure", "takes one kernel, and was given none"),
        ("measure --impl host --sdpa math", "takes one kernel, and was given 2"),
        ("measure --sdpa flahs", "no SDPA backend 'flahs'. Did you mean 'flash'?"),
        ("measure --sdpa math --iters 0", "--iters cannot be 0"),
        ("measure --sdpa math --warmup -1", "--warmup cannot be -1"),
        ("measure --sdpa math --shape 1x8x512 --device host", "'1x8x512' is no shape"),
        ("measure --sdpa math --shape 0x8x512x64 --device host", "batch must be a positive integer"),
        ("measure --sdpa math --shape 1x8x512x64-casual --device host", "'casual' in the shape"),
        ("measure --sdpa math --shapes canonicle --device host", "is no grid of shapes. Did you mean 'canonical'?"),
        ("measure --sdpa math --dtype int3 --device host", "no dtype 'int3'"),
        ("measure --sdpa math --timer sundial --device host", "sundial"),
        ("measure --impl hots --device host", "no implementation 'hots'. Did you mean 'host'?"),
        ("measure --impl wmma --device host", "wmma needs a CUDA device"),
        ("measure missing.py:f --device host", "no file missing.py"),
        ("measure --sdpa math --json .", "is a folder"),
        ("gate missing.json other.json", "got 2"),
        ("gate missing.json", "no file missing.json"),
        ("gate one.json", "holds the measurements of one arm"),
        ("gate one.json other.json", "other.json is not JSON, or is cut off"),
        ("gate one.json one.json", "hold one and the same measurement"),
        ("gate cut.json", "holds the measurements of one arm"),
        ("gate one.json cut.json", "cut.json is not JSON, or is cut off"),
        ("gate torn.json", "torn.json has no records, and is cut off."),
        ("measure --impl nope --device host", "There is no implementation 'nope'."),
        ("measure --impl wmma --device cuda:99", "with --device "),
        ("gate one.json one.json --alpha 2", "--alpha cannot be 2"),
        ("gate one.json one.json --speedup 0", "--speedup cannot be 0"),
        ("gate damaged.json one.json", "damaged"),
        ("gate odd.json one.json", "odd.json is damaged: the tick_seconds of a measurement is 'short'."),
    ],
)
def test_mistakes_get_a_sentence_and_status_2(tmp_path, monkeypatch, capsys, arguments, said) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("one.json"), [measured(1e-5)])
    Path("other.json").write_text("{")
    Path("cut.json").write_text(Path("one.json").read_text()[:500])
    Path("torn.json").write_text('{"schema": "pytest-kgate/records", "version": 1, "records": [\n{"test": ')
    Path("damaged.json").write_text(Path("one.json").read_text().replace('"samples"', '"smaples"'))
    odd = json.loads(Path("one.json").read_text())
    odd["measurements"][0]["tick_seconds"] = "short"
    Path("odd.json").write_text(json.dumps(odd))
    assert cli.main(arguments.split()) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err


def test_host_function_is_checked_and_measured(tmp_path, monkeypatch, capsys, one_thread) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import torch\n"
        "def good(q, k, v):\n    return torch.nn.functional.scaled_dot_product_attention(q, k, v)\n"
        "def wrong(q, k, v):\n    return torch.zeros_like(q)\n"
    )
    few = ["--shape", "1x1x16x16", "--iters", "24", "--warmup", "0", "--device", "host"]
    assert cli.main(["measure", "mine.py:good", *few, "--json", "good.json"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("good on sdpa 1x1x16x16 float32: median ")
    assert "right answers" in said
    assert load(Path("good.json"))[0].runs[0].samples.size >= 24
    assert cli.main(["measure", "mine.py:wrong", *few]) == 2
    assert "wrong was not timed: WRONG on sdpa 1x1x16x16 float32" in capsys.readouterr().err


@pytest.mark.parametrize("grid", [shapes.acceptance, shapes.stress], ids=["acceptance", "stress"])
def test_a_shape_is_read_as_it_is_written(grid) -> None:
    for shape in grid():
        assert parse_shape(str(shape)) == shape


def test_profiled_kernel_is_a_test_that_runs(pytester: pytest.Pytester, one_thread: None) -> None:
    pytester.makepyfile(
        mine="import torch\ndef good(q, k, v, is_causal=False):\n"
        "    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)\n"
    )
    asked = Namespace(impl=None, candidate="mine.py:good")
    names = ["sdpa 1x1x16x16 float32", "sdpa 1x1x16x16-causal float32"]
    folder = pytester.mkdir("elsewhere")
    (folder / "test_measured.py").write_text(session_of(asked, names))
    result = pytester.runpytest_inprocess(folder, "--kgate-device=host", "--kgate-until=check")
    result.assert_outcomes(passed=2)


def test_profile_needs_a_gpu_and_a_kernel(tmp_path, monkeypatch, capsys, one_thread) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import torch\ndef good(q, k, v):\n    return torch.nn.functional.scaled_dot_product_attention(q, k, v)\n"
    )
    few = ["--shape", "1x1x16x16", "--iters", "8", "--device", "host", "--profile"]
    assert cli.main(["measure", "mine.py:good", *few]) == 2
    assert "Counters are of a GPU" in capsys.readouterr().err
    assert cli.main(["measure", "--sdpa", "math", *few]) == 2
    assert "--profile cannot go with --sdpa" in capsys.readouterr().err

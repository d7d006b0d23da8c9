"""`evaluate`: judged without pytest, in a script and in threads; what raises, and what becomes a record."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import torch
from record_schema import demand_valid

from pytest_kgate import KgateError
from pytest_kgate import Problem
from pytest_kgate import Shape
from pytest_kgate import UsageError
from pytest_kgate import evaluate
from pytest_kgate import sdpa_problem
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.errors import DeviceMissing
from pytest_kgate.integrity.isolation.process.judge.guard import children
from pytest_kgate.report.record.document import document

RELU = Problem(
    "relu 64",
    lambda g: (torch.randn(64, generator=g, device=g.device),),
    torch.relu,
    lambda x: torch.relu(x.double()),
)


def good(x):
    return torch.relu(x)


def wrong(x):
    return torch.relu(x) + 0.5


def device(ratio=0.8):
    return FakeDevice({"candidate": ratio * 1e-5, "reference": 1e-5})


@pytest.mark.parametrize(
    ("candidate", "ratio", "speedup", "passed", "verdict"),
    [
        (good, 0.8, 0.95, True, "PASS"),
        (good, 0.8, 0.7, False, "FAIL"),
        (wrong, 0.1, 0.95, False, "WRONG"),
        (wrong, 0.1, None, False, "WRONG"),
        (good, 2.0, None, True, "PASS"),
        (torch.sigmoid_, 0.1, 0.95, False, "ERROR"),  # works in place
    ],
)
def test_verdict_is_in_the_record_and_nothing_is_printed(capfd, candidate, ratio, speedup, passed, verdict):
    record = evaluate(candidate, RELU, speedup, device=device(ratio))
    assert (record.passed, record["verdict"]) == (passed, verdict)
    assert (record["timing"] is not None) == (verdict in ("PASS", "FAIL") and speedup is not None)
    demand_valid(json.loads(json.dumps(document([record]))))
    assert "".join(capfd.readouterr()) == ""


class Stalls:
    """The reference takes 60 times as long in some rounds."""

    def __init__(self, every):
        self.every = every

    def draw(self, rng, rounds, slots, arms=2):
        noise = 0.05 * rng.standard_normal((arms, rounds, slots))
        noise[1, :: self.every] += math.log(60)
        return noise


@pytest.mark.parametrize(("every", "told"), [(3, True), (1000, False)])
def test_medians_that_contradict_the_ratio_are_explained(every, told):
    latencies = {"candidate": 4e-5, "reference": 1e-5}
    record = evaluate(good, RELU, speedup=0.9, device=FakeDevice(latencies, Stalls(every)))
    assert record["timing"]["ratio_of_medians"] == pytest.approx(4, rel=0.1)
    assert any(one.startswith("some rounds took far longer than others") for one in record["warnings"]) == told


def test_limits_are_judged_beside_the_ratio_and_percentiles_without_one():
    record = evaluate(good, RELU, device=device(), speed_of_light=0.5, resources={"registers": 72, "spills": "<= 0"})
    assert [gate["verdict"] for gate in record["gates"]] == ["PASS"]
    assert [one["name"] for one in record["limits"]] == ["speed_of_light", "registers", "spills"]
    assert "says neither its FLOPs nor its bytes" in record["limits"][0]["reason"]
    assert "not compiled here, and no GPU runs it" in record["limits"][1]["reason"]
    assert record["verdict"] == "NOT MEASURED"
    demand_valid(json.loads(json.dumps(document([record]))))
    only = evaluate(good, RELU, None, device=device(), percentile=0.75)
    assert only["verdict"] == "MEASURED"
    assert 0.75 in [one["quantile"] for one in only["timing"]["candidate"]["percentiles"]]


def test_attention_is_judged_without_the_fixture():
    problem = sdpa_problem(Shape(1, 2, 32, 16), "float32", backend="math")
    assert evaluate(torch.nn.functional.scaled_dot_product_attention, problem, device=device()).passed


def test_named_candidates_are_functions_and_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.py").write_text("import torch\ndef relu(x):\n    return torch.relu(x)\n")
    (tmp_path / "broken.py").write_text("def relu(x) return x\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit\n")
    (tmp_path / "broken.cpp").write_text("int kgate_sdpa() { return nothing; }\n")
    said = {
        "made.py:relu": "",
        "made.py:gelu": "has no function gelu",
        "broken.py:relu": "can't be imported: SyntaxError",
        "leaves.py:relu": "can't be imported: SystemExit",
        "broken.cpp": "broken does not compile: ",
    }
    for name, part in said.items():
        record = evaluate(name, RELU, device=device())
        assert part in record["reason"]
        assert record["verdict"] == ("PASS" if name == "made.py:relu" else "ERROR")
        assert record["candidate"]["name"] in name


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        ((RELU, good), {}, UsageError, "evaluate was given the problem first"),
        ((good, torch.relu), {}, UsageError, "evaluate takes a Problem"),
        ((good, RELU, 0.0), {}, UsageError, r"evaluate\(speedup=...\) cannot be 0.0"),
        ((good, RELU, 10**400), {}, UsageError, r"evaluate\(speedup=...\) cannot be 1000"),
        ((good, RELU), {"precision": "a"}, UsageError, r"evaluate\(precision=...\) cannot be 'a'"),
        ((good, RELU), {"own": 3}, UsageError, r"evaluate\(own=...\) cannot be 3"),
        ((good, RELU), {"speed_of_light": 2}, UsageError, "It takes a share of the roofline"),
        ((good, RELU), {"resources": {"register": 1}}, UsageError, "no resource 'register'. Did you mean 'registers'"),
        ((good, RELU), {"resources": {"registers": ">= 3"}}, UsageError, "registers is an upper limit"),
        ((good, RELU), {"resources": 72}, UsageError, "cannot be 72"),
        ((good, RELU), {"percentile": 0.9, "isolate": True}, UsageError, "cannot go with isolate"),
        ((good, RELU), {"budget": -1}, UsageError, r"budget \(evaluate\) cannot be -1"),
        ((good, RELU), {"timer": "wall", "cache": "cold"}, UsageError, "only a GPU's L2 cache"),
        (("nowhere.py:f", RELU), {"device": "host"}, UsageError, "There is no file nowhere.py"),
        (("nowhere.cu", RELU), {"device": "host"}, UsageError, "There is no file nowhere.cu"),
        ((good, RELU), {"isolate": True, "device": "host"}, UsageError, "needs the candidate by name"),
        ((good, RELU), {"device": "cuda:99"}, DeviceMissing, "CUDA device"),
    ],
)
def test_what_makes_no_sense_raises(arguments, options, error, said):
    with pytest.raises(error, match=said):
        evaluate(*arguments, **options)


def test_kernel_for_a_gpu_is_no_error_of_its_own_on_the_host(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.cu").write_text("")
    with pytest.raises(DeviceMissing, match=r"it\.cu needs a CUDA device"):
        evaluate("it.cu", RELU, device="host")


def test_environment_says_what_a_call_does_not(monkeypatch):
    monkeypatch.setenv("KGATE_SEED", "7")
    assert evaluate(good, RELU, None, device=device())["seeds"]["session"] == 7
    assert evaluate(good, RELU, None, device=device(), seed=8)["seeds"]["session"] == 8
    monkeypatch.setenv("KGATE_BUDGET", "soon")
    with pytest.raises(KgateError, match="KGATE_BUDGET cannot be 'soon'"):
        evaluate(good, RELU, device=device())


def test_calls_of_two_threads_come_one_after_the_other():
    under_way, records = [], []
    most = 0

    def slow(x):
        nonlocal most
        under_way.append(threading.get_ident())
        most = max(most, len(set(under_way)))
        time.sleep(1e-3)
        under_way.pop()
        return torch.relu(x)

    threads = [
        threading.Thread(target=lambda: records.append(evaluate(slow, RELU, None, device=device()))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ([record["verdict"] for record in records], most) == (["PASS"] * 3, 1)


SCRIPT = """
import json, threading
import torch
from pytest_kgate import Problem, evaluate

RELU = Problem(
    "relu", lambda g: (torch.randn(4096, generator=g),), torch.relu, lambda x: torch.relu(x.double())
)

def endless(x):
    while True:
        pass

def judged(candidate, **options):
    record = evaluate(candidate, RELU, 50.0, device="host", budget=20, **options)
    found.append([record.passed, record["verdict"], record["reason"]])

found = []
judged(torch.relu, clean="off")
threads = [threading.Thread(target=judged, args=(one,), kwargs=more) for one, more in
    ((lambda x: x.clamp(min=0), {"clean": "off"}), (endless, {"timeout": 0.3}))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(found))
"""


def test_plain_script_judges_in_its_main_thread_and_in_others(tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    before = children()
    command = [sys.executable, "script.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "KGATE_LOCK_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    main, other, endless = json.loads(done.stdout)
    assert main == other == [True, "PASS", ""]
    assert endless[:2] == [False, "ERROR"]
    assert "it was in endless, script.py line" in endless[2]
    assert done.stderr == ""
    assert children() <= before


@pytest.mark.parametrize("where", ["the candidate", "the inputs"])
def test_call_within_a_call_is_refused_and_does_not_hang(where):
    def nested(*_):
        evaluate(good, RELU, None, device=device())

    def inputs(generator):
        nested()
        return RELU.inputs(generator)

    problem = RELU if where == "the candidate" else Problem("nested", inputs, torch.relu, RELU.exact)
    record = evaluate(nested if where == "the candidate" else good, problem, None, device=device(), timeout=20)
    assert (record["verdict"], "called by what another call" in record["reason"]) == ("ERROR", True)
    assert evaluate(good, RELU, None, device=device()).passed


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_of_a_process_that_has_judged_is_refused_and_does_not_hang():
    evaluate(good, RELU, None, device=device())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            evaluate(good, RELU, None, device=device())
        except UsageError as error:
            os.write(writing, error.what.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as said:
        assert "in a fork of a process that has called it" in said.read()
    assert os.waitpid(child, 0)[1] == 0


def test_candidate_that_exits_is_an_error_and_the_program_goes_on():
    record = evaluate(lambda x: sys.exit(3), RELU, None, device=device())
    assert (record["verdict"], "The candidate raised SystemExit: 3" in record["reason"]) == ("ERROR", True)


def test_exit_that_a_signal_asks_for_is_no_fault_of_the_candidate_under_way():
    def signalled(x):
        signal.raise_signal(signal.SIGTERM)
        return torch.relu(x)

    def leave(*_):
        raise SystemExit(4)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit, match="4"):
            evaluate(signalled, RELU, None, device=device())
    finally:
        signal.signal(signal.SIGTERM, before)

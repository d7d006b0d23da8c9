"""How long `kgate verify --signed` takes for 100 gates: signature, checkout, policy, and each gate judged again.

    python benchmarks/seconds/receipts.py [--rounds 12] [--gates 100]

The gates are of races on the fake device that go on to a given look; a key, a repository and the signature are made for
it. The seconds are those of the whole command, from Python's start on, and the largest part of them: judging again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from pytest_kgate import __version__
from pytest_kgate.bench import call
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import White
from pytest_kgate.problems.problem import Problem
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.values import now
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.validation.receipts.judged_again.record import complaints

POLICY = '[[expected]]\ntest = "tests/test_it.py::*"\nat_least = {gates}\n\n[age]\ndays = 1\n'

RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(8, 8, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, choices=(12, 96), help="96: the longest races there are")
    parser.add_argument("--gates", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "project")
        commit = _repository(root, options.gates)
        records = [_record(number, options.rounds, commit) for number in range(options.gates)]
        (root / "records.json").write_text(json.dumps(document(records)))
        _kgate(root, "sign", "records.json", "--key", str(root.parent / "key"))
        seconds, cpu = min(_timed(root) for _ in range(3))
        start = time.perf_counter()
        assert not [clause for record in records for clause in complaints(record)]
        again = time.perf_counter() - start
    what = f"{options.gates} gates of {options.rounds} rounds"
    print(f"{what}: {seconds:.2f} s, {cpu:.2f} s of CPU; judging again alone {again:.2f} s")


def _record(number: int, rounds: int, commit: str) -> Any:
    settings = Settings(seed=1000 + number, integrity="off", clean="off")
    ratio, noise = (0.8, 0.005) if rounds == 12 else (0.95, 0.05)
    test = f"tests/test_it.py::test_it[{number}]"
    request = Request(test, 0, torch.relu, RELU, (SpeedGate(0.95),), ErrorGate(1e-3), settings)
    device = FakeDevice({"candidate": ratio * 1e-5, "reference": 1e-5}, noise=White(noise), seed=number)
    facts = {"kgate": __version__, "git": {"commit": commit, "dirty": False}}
    record = call.run(request, device, ReferencePicker(), facts, lambda said: None).record
    return {**record, "started": now()}


def _repository(root: Path, gates: int) -> str:
    root.mkdir()
    key = root.parent / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (root / "kgate-allowed-signers").write_text(f"a {key.with_suffix('.pub').read_text()}")
    (root / "kgate-policy.toml").write_text(POLICY.format(gates=gates))
    who = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-qb", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*who, *arguments], cwd=root, check=True)
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def _timed(root: Path) -> tuple[float, float]:
    start, before = time.perf_counter(), os.times()
    _kgate(root, "verify", "records.json", "--signed", "--base", "main")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, cpu


def _kgate(root: Path, *arguments: str) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest_kgate.cli", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    # Races of 96 rounds are left undecided: they are judged again all the same, and break the policy.
    assert done.returncode == 0 or "all as recorded" in done.stdout, done.stdout + done.stderr


if __name__ == "__main__":
    main()

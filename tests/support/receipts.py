"""Honest records of all kinds, and a repository with a signer in which they are receipts."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_kgate import __version__
from pytest_kgate import cli
from pytest_kgate.bench import call
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import White
from pytest_kgate.problems.problem import Problem
from pytest_kgate.report.record.document import document
from pytest_kgate.statistics.gates import ErrorGate
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import SpeedOfLightGate
from pytest_kgate.system.provenance.files import digest_of

NEEDS_SSH_KEYGEN = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen (apt install openssh-client)"
)

TEST_FILE = "tests/test_mine.py"

POLICY = f"""
[[expected]]
test = "{TEST_FILE}::*"
at_least = 3
bound = 0.95
atol = 1e-3

[age]
days = 14

[gates]
at_least = 4
"""

RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(8, 8, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)


def raced(
    test: str,
    *gates: SpeedGate,
    ratio: float,
    processes: int = 1,
    light: SpeedOfLightGate | None = None,
    problem: Problem = RELU,
    noise: float = 0.01,
    rounds: int | None = None,
    percentile: float | None = None,
    **device: Any,
) -> Any:
    """The record of a race on a device of made-up latencies, judged as every race is."""
    rule = gates[0].rule if gates else "sequential"
    off = {"integrity": "off", "clean": "off"}
    settings = Settings(processes=processes, rule=rule, seed=77, rounds=rounds, percentile=percentile, **off)
    request = Request(*(test, 0, torch.relu, problem, gates, ErrorGate(1e-3), settings), light=light)
    fake = FakeDevice({"candidate": ratio * 1e-5, "reference": 1e-5}, noise=White(noise), **device)

    def run(one: Request, spawn: Any = None) -> Any:
        environment = {"kgate": __version__}
        return call.run(one, fake, ReferencePicker(), environment, lambda said: None, spawn=spawn).record

    return run(request, lambda process, *_: run(dataclasses.replace(request, process=process)))


@functools.cache
def _passing() -> str:
    gates = (SpeedGate(0.95), SpeedGate(1.0, quantile=0.9))
    records = [
        raced(f"{TEST_FILE}::test_fast[1x8]", *gates, ratio=0.8),
        raced(f"{TEST_FILE}::test_near[2x8]", SpeedGate(0.95), ratio=0.92, noise=0.03),
        raced(f"{TEST_FILE}::test_near[4x8]", SpeedGate(0.95), ratio=0.9),
    ]
    return json.dumps(records)


def passing_records() -> Any:
    """Three records that pass, with four gates."""
    return copy.deepcopy(json.loads(_passing()))


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    """Run git in a folder, as somebody whose settings are of no consequence."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(folder)}
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, env=environment, capture_output=True, check=check)
    return done.stdout.decode().strip()


def new_key(path: Path) -> Path:
    """A new pair of SSH keys without a passphrase."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@dataclasses.dataclass
class Project:
    """A repository with a policy and a signer on `main`, and a change on the branch `change`, which is checked out."""

    root: Path
    key: Path
    capsys: pytest.CaptureFixture[str]

    @classmethod
    def make(cls, folder: Path, capsys: pytest.CaptureFixture[str]) -> Project:
        root = folder / "project"
        (root / "tests").mkdir(parents=True)
        key = new_key(folder / "key")
        public = key.with_suffix(".pub").read_text()
        (root / "kgate-allowed-signers").write_text(f'gpu@lab namespaces="kgate-record@v1" {public}')
        (root / "kgate-policy.toml").write_text(POLICY)
        (root / TEST_FILE).write_text("# a test\n")
        git(root, "init", "-q")
        git(root, "add", ".")
        git(root, "commit", "-qm", "first")
        git(root, "switch", "-qc", "change")
        (root / TEST_FILE).write_text("# a changed test\n")
        git(root, "commit", "-qam", "second")
        return cls(root, key, capsys)

    def measured(self, records: Any, *, ago: datetime.timedelta = datetime.timedelta(hours=1)) -> Any:
        """The records as a session in this checkout would have written them, so long ago."""
        started = datetime.datetime.now(datetime.timezone.utc) - ago
        facts = {
            "started": started.isoformat(),
            "sources": {TEST_FILE: digest_of(self.root, TEST_FILE)},
        }
        where = {"git": {"commit": git(self.root, "rev-parse", "HEAD"), "dirty": False}}
        return [{**one, **facts, "environment": {**one["environment"], **where}} for one in records]

    def write(self, records: Any, name: str = "records.json") -> Path:
        path = self.root / name
        path.write_text(json.dumps(document(records)))
        return path

    def sign(self, path: Path, *options: str, key: Path | None = None) -> int:
        return cli.main(["sign", str(path), "--key", str(key or self.key), *options])

    def verify(self, *paths: Path, base: str = "main") -> tuple[int, str]:
        """The exit status, and all that was said."""
        self.capsys.readouterr()
        status = cli.main(["verify", *map(str, paths), "--signed", "--base", base])
        said = self.capsys.readouterr()
        return status, said.out + said.err


def changed(record: Any, **facts: Any) -> Any:
    """A copy of a record, or of a part of one, with these values in place of its own."""
    mapping: Mapping[str, Any] = record
    return {**mapping, **facts}

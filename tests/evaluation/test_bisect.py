"""The commit at which a kernel became slower is found by races, and the user's checkout stays as it is."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from repositories import commit
from repositories import git

from pytest_kgate import cli
from pytest_kgate.evaluation.verb.bisect import command
from pytest_kgate.evaluation.verb.bisect.course import Answer
from pytest_kgate.evaluation.verb.bisect.course import suspects
from pytest_kgate.evaluation.verb.bisect.step import Step

KERNEL = """
#include "sdpa.h"
#include <cstdlib>
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* a, void*) {
    setenv("MADE_UP_MICROSECONDS", "LATENCY", 1);
    const int64_t size = (int64_t)a->batch * a->heads * a->head_dim;
    for (int64_t i = 0; i < size; ++i) ((float*)a->o)[i] = ((const float*)a->v)[i];
    return 0;
}
KGATE_EXPORT const char* kgate_message(void) { return "no"; }
"""
"""Attention of one key, whose answer is the value itself; it says how long it would take."""

DEVICE = """
import ctypes
import pytest
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.device.fake.noise import White

told = ctypes.CDLL(None).getenv
told.restype = ctypes.c_char_p

class Device(FakeDevice):
    def stopwatch(self, arms, workload, **how):
        inputs, latency = workload.draw(1), {}
        for arm in arms:
            arm.call(inputs, workload.output_for(arm, inputs))
            latency[arm.name] = 1e-6 * float(told(b"MADE_UP_MICROSECONDS") or 10)
        self.latency_seconds = latency.__getitem__
        return super().stopwatch(arms, workload, **how)

@pytest.fixture(scope="session")
def kgate_device():
    return Device({}, noise=White(0.02))
"""

TEST = """
import pytest
from pytest_kgate import Shape

@pytest.mark.speedup(3)
@pytest.mark.regression(margin=0.2)
def test_it(kbench, kernels, sdpa_oracle):
    kbench(kernels("kernel.cpp"), sdpa_oracle(Shape(1, 2, 1, 16), dtype="float32", backend="math"), weak="allow")
"""

QUICK = ("--pytest=--kgate-integrity=off",)


@pytest.mark.parametrize("culprit", range(12))
def test_any_commit_of_twelve_is_found_in_four_steps(culprit: int) -> None:
    asked = []

    def ask(place: int) -> Answer:
        asked.append(place)
        return "slow" if place >= culprit else "fast"

    assert suspects(range(12), ask) == [culprit]
    assert len(asked) <= 4


def test_what_cannot_be_told_is_left_out_and_named_where_it_may_be_the_one() -> None:
    def ask(place: int) -> Answer:
        return "unknown" if place in (5, 6) else "slow" if place >= 6 else "fast"

    assert suspects(range(12), ask) == [5, 6, 7]
    assert suspects(range(12), lambda place: "unknown") == list(range(12))
    assert suspects(range(12), lambda place: None) == list(range(12))


def test_slowdown_of_a_half_is_found_among_twelve_commits_without_a_checkout(
    tmp_path: Path, warm: str, build_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGATE_CACHE_DIR", str(build_cache))
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("KGATE_DEVICE", "host")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    git(tmp_path, "init", "-q", "-b", "main")
    latency = {0: "10", 3: "9", 8: "13.5", 10: "13.51"}
    hashes = []
    for number in range(13):
        files = {"notes__txt": f"{number}\n"}
        if number in latency:
            files["kernel__cpp"] = KERNEL.replace("LATENCY", latency[number])
        hashes.append(commit(tmp_path, conftest__py=DEVICE, test_it__py=TEST, **files))
    (tmp_path / "notes.txt").write_text("not committed\n")
    (tmp_path / ".git" / "info" / "exclude").write_text("__pycache__\n")  # which Python leaves of what it imports
    status = cli.main(["bisect", "test_it.py::test_it", "--good", "HEAD~12", "--bad", "main", *QUICK])
    *steps, last = (said := capsys.readouterr().out).splitlines()
    assert status == 0, said
    assert last.startswith("The first slower commit, after ")
    assert hashes[8][:9] in last
    assert len(steps) <= 2 + 4  # the two ends, and no more than four between them
    assert re.fullmatch(r".* faster: now 1\.3\d+ \[1\.\d+, 1\.\d+] of its latency", steps[0])
    assert git(tmp_path, "status", "--porcelain") == " M notes.txt"
    assert git(tmp_path, "rev-parse", "HEAD") == hashes[-1]


def test_ends_that_make_no_sense_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    for number in range(3):
        commit(tmp_path, test_it__py=f"# {number}\n")
    monkeypatch.chdir(tmp_path)
    answers = [Step("slow", "the same build as now")]
    monkeypatch.setattr(command, "step", lambda *_: answers.pop(0))
    assert cli.main(["bisect", "test_it.py", "--good", "HEAD~2"]) == 1
    assert "is not slower now than at" in capsys.readouterr().out
    answers += [Step("fast", "faster"), Step("fast", "faster")]
    assert cli.main(["bisect", "test_it.py", "--good", "HEAD~2"]) == 2
    assert "The kernel was faster at" in capsys.readouterr().err
    answers += [Step("fast", "faster"), Step("slow", "as slow")]

    def interrupted(*_: object) -> Step:
        if not answers:
            raise KeyboardInterrupt
        return answers.pop(0)

    monkeypatch.setattr(command, "step", interrupted)
    assert cli.main(["bisect", "test_it.py", "--good", "HEAD~2"]) == 130
    assert "Interrupted.\nThe first slower commit is one of these 2, after 0 steps:" in capsys.readouterr().out
    with monkeypatch.context() as later:
        later.setattr(command, "time", SimpleNamespace(monotonic=itertools.count(0, 1000).__next__))
        assert cli.main(["bisect", "test_it.py", "--good", "HEAD~2"]) == 1
    assert "The budget is spent.\nNothing is known yet" in capsys.readouterr().out
    git(tmp_path, "tag", "main", "HEAD~1")
    git(tmp_path, "config", "log.showSignature", "true")
    for good, said in (
        ("nowhere", "means no commit"),
        ("main", "means refs/heads/main and refs/tags/main"),
        ("HEAD", "is no earlier commit of HEAD"),
    ):
        assert cli.main(["bisect", "test_it.py", "--good", good]) == 2
        assert said in capsys.readouterr().err

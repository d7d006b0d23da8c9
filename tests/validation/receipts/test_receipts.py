"""`kgate sign` and `kgate verify --signed`: which receipts of a GPU machine are believed on one that has none.

Keys and signatures are OpenSSH's own, the repository is a real one; nothing needs a network.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from receipts import NEEDS_SSH_KEYGEN
from receipts import POLICY
from receipts import TEST_FILE
from receipts import Project
from receipts import changed
from receipts import git
from receipts import passing_records

from pytest_kgate import cli
from pytest_kgate.report.record.samples import arm_facts
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.samples import encode_samples

pytestmark = NEEDS_SSH_KEYGEN


def test_honest_receipt_is_accepted_and_says_what_it_attests(project: Project) -> None:
    path = project.write(project.measured(passing_records()))
    assert project.sign(path) == 0
    status, said = project.verify(path)
    assert status == 0, said
    assert "by gpu@lab, in the namespace kgate-record@v1" in said
    assert "4 gates of 3 records, judged again from their samples: all as recorded" in said
    assert "not the hardware" in " ".join(said.split())
    # Committed beside the code, the receipt is part of the checkout that it attests.
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "receipt")
    assert project.verify(path)[0] == 0
    (project.root / "kernel.cu").write_text("// another kernel")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "kernel")
    status, said = project.verify(path)
    assert status == 1
    assert "where other files are: kernel.cu" in said


def _gate(record: Any, **facts: Any) -> Any:
    return changed(record, gates=[changed(record["gates"][0], **facts), *record["gates"][1:]])


def _interval(record: Any, **facts: Any) -> Any:
    return _gate(record, ratio=changed(record["gates"][0]["ratio"], **facts))


def _with_samples(record: Any, factor: float, *, whole: bool) -> Any:
    """The candidate faster by a factor; where `whole`, digest, medians and percentiles are made anew as well."""
    timing = record["timing"]
    arm = timing["candidate"]
    samples = decode_samples(arm["samples"]) * factor
    own = arm_facts(samples) if whole else changed(arm, samples=changed(encode_samples(samples)))
    if not whole:
        own["samples"]["digest"] = arm["samples"]["digest"]
    return changed(record, timing=changed(timing, candidate=own))


def _environment(record: Any, **facts: Any) -> Any:
    return changed(record, environment=changed(record["environment"], git=facts))


BY_A_SIGNER: dict[str, tuple[Callable[[Any], Any], str]] = {
    "ratio": (lambda one: _interval(one, estimate=0.5), "gates[0].ratio.estimate is 0.5, and its samples give 0."),
    "interval": (lambda one: _interval(one, high=0.81), "gates[0].ratio.high is 0.81"),
    "verdict": (lambda one: changed(one, verdict="MEASURED"), "make it PASS"),
    "bound": (lambda one: _gate(one, bound=0.99), "gates[0].p_value is"),
    "confidence": (lambda one: _gate(one, confidence=0.8), "gates[0].ratio.low is"),
    "look": (lambda one: _gate(one, look=1, rounds=24), "gates[0].look is 1, and its samples give 0"),
    "samples": (lambda one: _with_samples(one, 0.9, whole=False), "not those that its digest was made of"),
    "samples with their digest": (lambda one: _with_samples(one, 0.9, whole=True), "gates[0].ratio.low is"),
    "tolerance": (
        lambda one: changed(one, correctness=changed(one["correctness"], atol=1e-4)),
        "beyond a tolerance that is 0.0001",
    ),
    "name with a command to CI": (
        lambda one: _interval(changed(one, test=f"{TEST_FILE}::a\n::error::b"), high=0.81),
        f"REFUSED   {TEST_FILE}::a?::error::b: gates[0].ratio.high is 0.81",
    ),
    "source": (lambda one: changed(one, sources={TEST_FILE: "0" * 32}), f"{TEST_FILE} is another here"),
    "commit": (lambda one: _environment(one, commit="1" * 40, dirty=False), "which is not in this repository"),
    "dirty": (lambda one: _environment(one, commit="1" * 40, dirty=True), "changes that were not committed"),
    "no commit": (lambda one: changed(one, environment={**one["environment"], "git": None}), "it names no commit"),
}
"""What a signer may change before he signs, and what is said of it."""


def test_what_a_signer_edits_and_signs_anew_does_not_stand(project: Project) -> None:
    first, *others = project.measured(passing_records())
    for name, (edit, said_of_it) in BY_A_SIGNER.items():
        path = project.write([edit(first), *others])
        project.sign(path)
        status, said = project.verify(path)
        assert status == 1, name
        assert said_of_it in said, name


def test_dropped_test_looser_demand_and_old_record_break_the_policy_of_the_base(project: Project) -> None:
    records = project.measured(passing_records())
    aged = project.measured(passing_records(), ago=datetime.timedelta(days=15))
    ahead = project.measured(passing_records(), ago=datetime.timedelta(days=-1))
    # What the change says of policy and signers does not count.
    (project.root / "kgate-policy.toml").write_text(POLICY.replace("at_least = 3", "at_least = 1"))
    for edited, said_of_it in (
        (records[:2], "at least 3 tests; there are 2"),
        ([_loosened(records[0]), *records[1:]], "test_fast[1x8]: its gates demand 0.99"),
        (aged, "measured 15.0 days ago"),
        (ahead, "measured 1.0 days ahead of this clock"),
    ):
        path = project.write(edited)
        project.sign(path)
        status, said = project.verify(path)
        assert status == 1
        assert said_of_it in said


def _loosened(record: Any) -> Any:
    """Raced again with a bound that demands less: nothing is inconsistent, and only the policy can tell."""
    from receipts import raced

    from pytest_kgate.statistics.gates import SpeedGate

    looser = raced(record["test"], SpeedGate(0.99), SpeedGate(1.0, quantile=0.9), ratio=0.8)
    kept = {name: record[name] for name in ("started", "sources", "environment")}
    return changed(looser, **kept)


def test_tag_named_like_the_base_is_not_taken_for_it(project: Project) -> None:
    path = project.write(project.measured(passing_records()))
    git(project.root, "update-ref", "refs/remotes/origin/main", "main")
    git(project.root, "tag", "origin/main", "change")
    status, said = project.verify(path, base="origin/main~0")
    assert (status, "means refs/remotes/origin/main and refs/tags/origin/main here" in said) == (2, True)
    assert "Write which one, refs/remotes/origin/main say" in said


def test_what_can_not_be_verified_here_says_what_is_missing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.write(project.measured(passing_records()))
    project.sign(path)
    for base, said_of_it in (("mian", "There is no revision mian"), ("change~1", "")):
        status, said = project.verify(path, base=base)
        assert (status, said_of_it in said) == (2 if said_of_it else 0, True)
    # A change that brings the list and the policy itself is verified by neither.
    git(project.root, "switch", "-q", "--orphan", "bare")
    git(project.root, "commit", "-q", "--allow-empty", "-m", "nothing")
    git(project.root, "switch", "-q", "change")
    status, said = project.verify(path, base="bare")
    assert (status, "none is taken from the checkout under test" in said) == (2, True)
    assert cli.main(["verify", str(path), "--signed"]) == 2
    # Links of the change's are not followed.
    (project.root / "lenient.toml").write_text('[[expected]]\ntest = "*"\n[age]\ndays = 9999\n')
    git(project.root, "add", "lenient.toml")
    git(project.root, "commit", "-qm", "another policy")
    git(project.root, "branch", "with-both")
    (project.root / "kgate-policy.toml").unlink()
    (project.root / "kgate-policy.toml").symlink_to("lenient.toml")
    said = project.verify(path, base="with-both")[1]
    assert f"expected: {TEST_FILE}::* with bound 0.95 or stricter" in said
    git(project.root, "checkout", "-q", "--", ".")
    # A clone of the last commit only.
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "receipt")
    git(project.root, "clone", "-q", "--depth=1", f"file://{project.root}", str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    git(Path(), "fetch", "-q", "--depth=1", "origin", "main:main")
    status, said = project.verify(Path("records.json"))
    assert (status, "this clone is shallow" in said) == (1, True)
    monkeypatch.chdir(tmp_path)
    status, said = project.verify(path)
    assert (status, "is in no git checkout" in said) == (2, True)


def test_ci_verifies_by_the_code_of_the_base_and_not_by_that_of_the_change(project: Project) -> None:
    package = project.root / "pytest_kgate"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('all is well')\n")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "all is well")
    (project.root / "receipts").mkdir()
    path = project.write(project.measured(passing_records()), "receipts/records.json")
    command = [str(Path(__file__).parents[3] / ".ci" / "verify"), str(project.root), "main"]
    # As `python3`: the Python of these tests, of which -I leaves the packages.
    shim = project.root.parent / "python3"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    shim.chmod(0o755)
    environment = {**os.environ, "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}
    project.sign(path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "by gpu@lab" in done.stdout) == (0, True), done.stdout + done.stderr

"""Signatures of receipts: whose count, and how they are made.

Keys and signatures are OpenSSH's own, the repository is a real one; nothing needs a network.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from receipts import NEEDS_SSH_KEYGEN
from receipts import Project
from receipts import git
from receipts import new_key
from receipts import passing_records

from pytest_kgate.errors import KgateError
from pytest_kgate.validation.receipts.signature import signer_of

pytestmark = NEEDS_SSH_KEYGEN


def test_signature_must_be_of_this_file_in_this_namespace_by_someone_on_the_list_of_the_base(
    project: Project, tmp_path: Path
) -> None:
    records = project.measured(passing_records())
    path = project.write(records)
    status, said = project.verify(path)
    assert (status, "is not signed" in said) == (1, True)

    project.sign(path)
    signature = path.with_name("records.json.sig")
    other = project.write(project.measured(passing_records(), ago=datetime.timedelta(hours=2)), "other.json")
    shutil.copy(signature, "other.json.sig")  # swapped
    status, said = project.verify(other)
    assert (status, "no valid signature" in said) == (1, True)

    path.write_bytes(path.read_bytes().replace(b'"PASS"', b'"FAIL"', 1))  # edited, by whoever has no key
    assert project.verify(path)[0] == 1

    command = ["ssh-keygen", "-Y", "sign", "-f", str(project.key), "-n", "git"]
    path = project.write(records)
    signature.unlink()
    subprocess.run([*command, str(path)], check=True, capture_output=True)  # as git signs commits
    status, said = project.verify(path)
    assert (status, "no valid signature" in said) == (1, True)

    stranger = new_key(tmp_path / "stranger")
    # The change puts its author on the list, and signs.
    with open("kgate-allowed-signers", "a") as signers:
        signers.write(f"me@home {stranger.with_suffix('.pub').read_text()}")
    git(project.root, "commit", "-qam", "me too")
    path = project.write(project.measured(passing_records()))
    project.sign(path, key=stranger)
    status, said = project.verify(path)
    assert (status, "by no allowed signer" in said) == (1, True)

    project.sign(path)
    assert project.verify(path)[0] == 0
    git(project.root, "stash", "-q", "--all")
    git(project.root, "switch", "-q", "main")
    public = project.key.with_suffix(".pub").read_text()
    for number, line in enumerate(("# nobody any more\n", f'gpu@lab valid-before="20200101" {public}')):
        Path("kgate-allowed-signers").write_text(line)
        git(project.root, "commit", "-qam", "the signer left")
        git(project.root, "tag", f"left-{number}")
    git(project.root, "switch", "-q", "change")
    git(project.root, "stash", "pop", "-q")
    for base in ("left-0", "left-1"):
        status, said = project.verify(path, base=base)
        assert (status, "by no allowed signer" in said or "no valid signature" in said) == (1, True)


def test_key_may_stand_on_several_lines_and_one_for_commits_signs_no_records(project: Project) -> None:
    path = project.write(project.measured(passing_records()))
    project.sign(path)
    key = project.key.with_suffix(".pub").read_text()
    commits = f'me@lab namespaces="git" {key}'
    for list_of_signers, said in (
        (f"# who signs\n{commits}gpu@lab {key}", "gpu@lab"),
        (f"!me@lab,*@lab {key}", "*@lab"),
        (commits, "may not sign records"),
    ):
        try:
            assert signer_of(path, path.read_bytes(), list_of_signers.encode()) == said
        except KgateError as error:
            assert said in error.what  # noqa: PT017
    signature = path.with_name("records.json.sig")
    made = signature.read_bytes()
    signature.write_bytes(made.replace(b"\n", b"\r\n"))  # as git writes texts on Windows
    assert signer_of(path, path.read_bytes(), f"gpu@lab {key}".encode()) == "gpu@lab"
    with pytest.raises(KgateError) as changed:
        signer_of(path, path.read_bytes() + b"\r\n", f"gpu@lab {key}".encode())
    assert "records.json -text" in changed.value.todo
    signature.write_text("signed, me")
    with pytest.raises(KgateError, match="is no SSH signature"):
        signer_of(path, path.read_bytes(), f"gpu@lab {key}".encode())


def test_without_ssh_keygen_nothing_is_known_and_an_earlier_signature_stays(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.write(project.measured(passing_records()))
    assert project.sign(path) == 0
    signature = path.with_name("records.json.sig").read_bytes()
    old = project.root.parent / "ssh-keygen"
    old.write_text("#!/bin/sh\necho 'unknown option -- Y' >&2; exit 255\n")
    old.chmod(0o755)
    for program, said_of_it in ((None, "There is no ssh-keygen"), (str(old), "is too old to make or check")):
        monkeypatch.setattr("shutil.which", lambda name, found=program: found)
        status, said = project.verify(path)
        assert (status, said_of_it in said) == (2, True)
        assert project.sign(path) == 2
        assert path.with_name("records.json.sig").read_bytes() == signature


def test_agent_signs_with_a_key_whose_private_half_is_nowhere_on_disk(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent (apt install openssh-client)")
    path = project.write(project.measured(passing_records()))
    folder = tempfile.mkdtemp(prefix="kg-")  # a socket's path may have a hundred letters
    socket = f"{folder}/agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    try:
        assert agent.stdout is not None
        agent.stdout.readline()  # which it says once it listens
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        subprocess.run(["ssh-add", "-q", str(project.key)], check=True, capture_output=True)
        os.unlink(project.key)
        assert project.sign(path, "-U", key=project.key.with_suffix(".pub")) == 0
    finally:
        agent.terminate()
        agent.communicate()
        shutil.rmtree(folder)
    assert project.verify(path)[0] == 0

"""Signatures of files of records, made and checked by OpenSSH's `ssh-keygen -Y`.

A signature stands in a file of its own beside the records, `records.json.sig`, over every byte of them. Its namespace
keeps it apart from what the same key signs elsewhere, such as commits: neither can be passed off as the other.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ToolchainMissing

NAMESPACE = "kgate-record@v1"

SUFFIX = ".sig"

_SECONDS = 300.0
"""For a signature: a hardware key waits for its owner's touch, an agent for a confirmation."""


def signature_of(records: Path) -> Path:
    """Where the signature of a file of records stands."""
    return records.with_name(records.name + SUFFIX)


def sign(records: Path, key: Path, *, by_agent: bool) -> Path:
    """Sign a file of records with a private key, or with that of an agent or a hardware token whose public one it is.

    Returns the signature's file. Raises `KgateError` with what ssh-keygen said where there is none.
    """
    place = signature_of(records)
    earlier = place.read_bytes() if place.exists() else None
    place.unlink(missing_ok=True)  # ssh-keygen would ask whether to replace it
    agent = ["-U"] if by_agent else []
    run = _keygen("-Y", "sign", *agent, "-f", str(key), "-n", NAMESPACE, str(records), interactive=True)
    if run.returncode != 0 or not place.exists():
        if earlier is not None:
            place.write_bytes(earlier)
        raise KgateError(
            f"{records} could not be signed with {key}: {_said(run)}",
            "Name a private key, or the public one of a key that ssh-agent or a hardware token holds, with --key.",
        )
    return place


def signer_of(records: Path, content: bytes, allowed: bytes) -> str:
    """The principal who signed this content of a file, by the list of allowed signers.

    Raises `KgateError` where there is no signature, it is of other content or in another namespace, or its key is on no
    line of the list, or no longer.
    """
    place = signature_of(records)
    if not place.exists():
        raise KgateError(
            f"{records} is not signed: there is no {place}.", "Sign it where it was measured: `kgate sign`."
        )
    with tempfile.TemporaryDirectory(prefix="kgate-verify-") as folder:
        signers = Path(folder, "allowed_signers")
        signers.write_bytes(allowed)
        found = _keygen("-Y", "find-principals", "-f", str(signers), "-s", str(place))
        principals = found.stdout.decode(errors="replace").splitlines()
        if found.returncode != 0 or not principals:
            raise KgateError(
                f"{place} is by no allowed signer: {_said(found)}",
                "The key must be on a line of the list of allowed signers of the base revision, valid today, with the "
                f'namespace "{NAMESPACE}" if the line names any.',
            )
        said = found
        for principal in principals:
            who = ["-f", str(signers), "-I", principal, "-n", NAMESPACE, "-s", str(place)]
            said = _keygen("-Y", "verify", *who, given=content)
            if said.returncode == 0:
                return principal
    raise KgateError(
        f"{place} is no valid signature of {records}: {_said(said)}",
        "The file or the signature was changed, belongs to another file, or was made for another purpose than "
        f"{NAMESPACE}. Take both anew from where they were made.",
    )


def _keygen(*arguments: str, given: bytes = b"", interactive: bool = False) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise ToolchainMissing(
            "There is no ssh-keygen, which makes and checks signatures.",
            "Install OpenSSH 8.2 or newer (Debian and Ubuntu: apt install openssh-client).",
        )
    # A passphrase or a touch is asked for on the terminal itself, or by SSH_ASKPASS: standard input is not needed.
    quiet = {} if interactive else {"SSH_ASKPASS_REQUIRE": "never"}
    try:
        return subprocess.run(
            [program, *arguments],
            input=given,
            stdout=subprocess.PIPE,
            # On a terminal its user must see that a hardware key waits for a touch.
            stderr=None if interactive and sys.stderr.isatty() else subprocess.PIPE,
            timeout=_SECONDS,
            env={**os.environ, **quiet, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise KgateError(f"ssh-keygen did not answer: {error}.", "Try the same command by hand.") from error


def _said(run: subprocess.CompletedProcess[bytes]) -> str:
    lines = (run.stderr or run.stdout or b"").decode(errors="replace").strip().splitlines()
    text = lines[-1] if lines else f"ssh-keygen ended with status {run.returncode}"
    return re.sub(r"[^\x20-\x7e]", "?", text).rstrip(".") + "."

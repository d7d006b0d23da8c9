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
from pathlib import Path

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.system.folders.scratch import scratch

NAMESPACE = "kgate-record@v1"

SUFFIX = ".sig"

_BEGIN = b"-----BEGIN SSH SIGNATURE-----"

_UNKNOWN_OPTION = (b"unknown option", b"illegal option", b"ssh-keygen: unknown option", b"ssh-keygen: illegal option")
"""As getopt has it: -Y came with OpenSSH 8.1, what of it is needed here with 8.2."""

_SECONDS = 300.0
"""For a signature: a hardware key waits for its owner's touch, an agent for a confirmation."""


def signature_of(records: Path) -> Path:
    """The path at which the signature of a file of records stands."""
    return records.with_name(records.name + SUFFIX)


def sign(records: Path, key: Path, *, by_agent: bool) -> Path:
    """Sign a file of records with a private key, or with that of an agent or a hardware token whose public one it is.

    Returns the signature's file. Raises `KgateError` with what ssh-keygen said where there is none.
    """
    place = signature_of(records)
    agent = ["-U"] if by_agent else []
    try:
        earlier = place.read_bytes() if place.exists() else None
        place.unlink(missing_ok=True)  # ssh-keygen would ask whether to replace it
    except OSError as error:
        raise UsageError(f"{place} can't be replaced: {error.strerror}.", "Check its folder's permissions.") from error
    made = False
    try:
        # Whole, since a name may begin with a hyphen.
        run = _keygen("-Y", "sign", *agent, "-f", str(key), "-n", NAMESPACE, str(records.absolute()), interactive=True)
        made = run.returncode == 0 and place.exists()
    finally:
        if not made and earlier is not None:
            place.write_bytes(earlier)
    if not made:
        raise KgateError(
            f"{records} could not be signed with {key}: {_said(run)}",
            "Name a private key, or the public one of a key that ssh-agent or a hardware token holds, with --key.",
        )
    return place


def signer_of(records: Path, content: bytes, allowed: bytes) -> str:
    """The principal who signed this content of a file, by the list of allowed signers, as it is written there.

    Raises `KgateError` where there is no signature, it is of other content or in another namespace, or its key is on no
    line of the list, or no longer.
    """
    place = signature_of(records)
    if not place.is_file():
        raise KgateError(
            f"{records} is not signed: there is no {place}.", "Sign it where it was measured: `kgate sign`."
        )
    written = place.read_bytes().replace(b"\r\n", b"\n")
    if not written.startswith(_BEGIN):
        raise KgateError(f"{place} is no SSH signature.", f"Sign {records} where it was measured: `kgate sign`.")
    with scratch("verify") as folder:
        signature = Path(folder, "signature")
        signature.write_bytes(written)
        principal, said = _signer(Path(folder), signature, content, allowed)
        lines = allowed.splitlines(keepends=True)
        if principal is None and said is not None and len(lines) > 1:
            # ssh-keygen looks no further than the first line of a key, which may be for another purpose.
            each = (_signer(Path(folder), signature, content, line) for line in lines)
            principal = next((one for one, _ in each if one is not None), None)
    if principal is not None:
        return principal
    if said is None:
        raise KgateError(
            f"{place} is by no allowed signer.",
            "Its key must be on a line of the list of allowed signers of the base revision, valid today, with the "
            f'namespace "{NAMESPACE}" if the line names any.',
        )
    if "not permitted" in said:
        raise KgateError(
            f"{place} is by a key that may not sign records.",
            f'Its line in the list of allowed signers of the base revision lacks the namespace "{NAMESPACE}".',
        )
    ends = ""
    if b"\r\n" in content:
        ends = f" Its lines end in CR LF: git may have rewritten them (`{records.name} -text` in .gitattributes)."
    raise KgateError(
        f"{place} is no valid signature of {records}: {said}",
        "The file or the signature was changed, belongs to another file, or was made for another purpose than "
        f"{NAMESPACE}. Take both anew from where they were made.{ends}",
    )


def _signer(folder: Path, signature: Path, content: bytes, allowed: bytes) -> tuple[str | None, str | None]:
    """Who signed, by these lines; else what ssh-keygen says of the signature, and neither where no line has its key."""
    signers = folder / "allowed_signers"
    signers.write_bytes(allowed)
    found = _keygen("-Y", "find-principals", "-f", str(signers), "-s", str(signature))
    # Patterns, of which those with ! in front say who it is not.
    principals = [name for name in found.stdout.decode(errors="replace").splitlines() if not name.startswith("!")]
    if found.returncode != 0:
        return None, None
    said = None
    for principal in principals:
        who = ["-f", str(signers), "-I", principal, "-n", NAMESPACE, "-s", str(signature)]
        run = _keygen("-Y", "verify", *who, given=content)
        if run.returncode == 0:
            return principal, None
        said = _said(run).removeprefix(f"{signers}:")
    return None, said


def _keygen(*arguments: str, given: bytes = b"", interactive: bool = False) -> subprocess.CompletedProcess[bytes]:
    program, todo = (
        shutil.which("ssh-keygen"),
        "Install OpenSSH 8.2 or newer (Debian and Ubuntu: apt install openssh-client).",
    )
    if program is None:
        raise ToolchainMissing("There is no ssh-keygen, which makes and checks signatures.", todo)
    # A passphrase or a touch is asked for on the terminal itself, or by SSH_ASKPASS: standard input is not needed.
    quiet = {} if interactive else {"SSH_ASKPASS_REQUIRE": "never"}
    try:
        run = subprocess.run(
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
        raise ToolchainMissing(f"ssh-keygen did not answer: {error}.", "Try the same command by hand.") from error
    if run.stderr is not None and run.stderr.startswith(_UNKNOWN_OPTION):
        raise ToolchainMissing(f"{program} is too old to make or check signatures of files.", todo)
    return run


def _said(run: subprocess.CompletedProcess[bytes]) -> str:
    lines = (run.stderr or run.stdout or b"").decode(errors="replace").strip().splitlines()
    text = lines[-1] if lines else f"ssh-keygen ended with status {run.returncode}"
    return re.sub(r"[^\x20-\x7e]", "?", text).rstrip(".") + "."

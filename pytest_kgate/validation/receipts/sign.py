"""`kgate sign`: a receipt of recorded sessions, which a machine without a GPU can verify."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report import format as text
from pytest_kgate.report.record.document import read
from pytest_kgate.system.provenance import git
from pytest_kgate.validation.receipts.signature import NAMESPACE
from pytest_kgate.validation.receipts.signature import sign


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kgate sign`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="written by `pytest --kgate-json FILE`")
    parser.add_argument(
        "--key",
        type=Path,
        help="an SSH key: a private one, or the public one of a key in an agent or on a hardware token; default: that "
        "of `git config user.signingKey`",
    )
    parser.add_argument("-U", "--agent", action="store_true", help="the private key is in ssh-agent, and nowhere else")


def run(options: argparse.Namespace) -> int:
    """Sign each file; the signature stands beside it, in a file whose name ends in .sig."""
    key = options.key or _configured()
    if not key.exists():
        raise UsageError(f"There is no key {key}.", "Name one with --key; `ssh-keygen -t ed25519` makes a pair.")
    for path in options.files:
        records, cut_off = read(path)
        if cut_off is not None:
            raise KgateError(f"{cut_off}.", "Measure again: nobody could verify what is missing.")
        place = sign(path, key, by_agent=options.agent)
        gates = text.counted(sum(len(record["gates"]) for record in records), "gate")
        print(f"{place}: {text.counted(len(records), 'record')} with {gates}, signed in the namespace {NAMESPACE}")
        unclean = [record for record in records if (record["environment"].get("git") or {}).get("dirty") is not False]
        if unclean:
            print(
                f"  {text.counted(len(unclean), 'record')} name no clean commit: `kgate verify --signed` will refuse "
                "them. Commit first, then measure."
            )
    return 0


def _configured() -> Path:
    value = git.word(Path.cwd(), "config", "--get", "--type=path", "user.signingKey")
    if not value or value.startswith("key::"):
        raise UsageError(
            "No key was named to sign with.", "Give --key ~/.ssh/id_ed25519, say, or set user.signingKey in git."
        )
    return Path(value)

"""Files of signed records examined: who signed each, whether it is of this checkout, and what judging again finds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import NamedTuple

from pytest_kgate import __version__
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.grids.named import NAMED
from pytest_kgate.report import format as text
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.document import parse
from pytest_kgate.report.together.policy import file as policy
from pytest_kgate.system.provenance import git
from pytest_kgate.validation.receipts.checkout import Checkout
from pytest_kgate.validation.receipts.checkout import place_in
from pytest_kgate.validation.receipts.judged_again.complete import lacking
from pytest_kgate.validation.receipts.judged_again.record import complaints
from pytest_kgate.validation.receipts.judged_again.together import of_all
from pytest_kgate.validation.receipts.signature import NAMESPACE
from pytest_kgate.validation.receipts.signature import signature_of
from pytest_kgate.validation.receipts.signature import signer_of

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.together.policy.rules import Rule

_NEEDED = {
    "expected": '[[expected]]\ntest = "tests/perf/*"\nat_least = 12',
    "age": "[age]\ndays = 14",
}
"""Rules without which a signed file could be any: of other tests, or of years ago."""

_ATTESTS = (
    "attests   that the signer vouches for these records, and that they follow from their own samples:",
    "          not the hardware, nor that the samples were ever measured",
)

_SHOWN = 8
"""Complaints about one record."""


class Examined(NamedTuple):
    """What came of the examined files of signed records, with which `kgate verify --signed` goes on."""

    rules: list[Rule]
    """Of the base revision."""
    told: list[str]
    """Lines for the terminal."""
    refused: list[str]
    """Reasons not to believe the files."""
    contents: Mapping[Path, bytes]
    """The files as they were examined, so that nobody changes them in between."""


def examined(options: argparse.Namespace) -> Examined:
    """Read policy and signers from the base, and hold each file to its signature, to the checkout, and to its samples.

    Raises `UsageError` where the base has no such files, or its policy lacks a rule that receipts need.
    """
    paths = [Path(path) for path in options.files]
    checkout = Checkout.around(Path.cwd(), [*paths, *map(signature_of, paths)])
    base = git.commit_of(checkout.root, options.base)
    if base is None:
        here = "this shallow clone" if git.is_shallow(checkout.root) else "this repository"
        raise UsageError(f"There is no revision {options.base} in {here}.", "Fetch it, or name another.")
    git.demand_one_meaning(checkout.root, options.base)
    rules = _rules(checkout.root, base, options)
    signers = _of_base(checkout.root, base, options.signers, options.base, "signers")
    told, refused, contents = [f"base      {options.base}, {base[:12]}: its policy, and who may sign"], [], {}
    if base == checkout.head:
        told.append("          that is the commit under test itself: whoever made it chose both")
    for path in paths:
        contents[path] = content = _content(path)
        try:
            told.append(f"signed    {path}: by {signer_of(path, content, signers)}, in the namespace {NAMESPACE}")
        except ToolchainMissing:
            raise  # nothing is known of the signature
        except KgateError as error:
            refused.append(error.what)
            told.append(f"REFUSED   {error.what} {error.todo}")
    records = merge(parse(content, path)[0] for path, content in contents.items())
    for name, found in (("checkout", _elsewhere(checkout, records)), ("again", _unlike(records))):
        told += [f"REFUSED   {line}" for line in found] or [_fine(name, checkout, records)]
        refused += found
    return Examined(rules, [*told, *_ATTESTS], refused, contents)


def _rules(root: Path, base: str, options: argparse.Namespace) -> list[Rule]:
    name = f"{options.policy} at {options.base}"
    content = _of_base(root, base, options.policy, options.base, "policy")
    rules = policy.parse(content.decode("utf-8-sig", errors="replace"), name)
    for kind, example in _NEEDED.items():
        if all(rule.kind != kind for rule in rules):
            raise UsageError(f"{name} has no rule {kind!r}, which receipts need.", f"Such as:\n{example}")
    if of_file := next((rule for rule in rules if rule.values.get("grid", "all") not in NAMED), None):
        raise UsageError(
            f"{name}, line {of_file.line}: {of_file.values['grid']} would be read from the checkout under test.",
            f"For receipts, name one of the grids {', '.join(NAMED)}.",
        )
    return rules


def _of_base(root: Path, base: str, path: Path, revision: str, flag: str) -> bytes:
    place = place_in(root, path)
    content = None if place is None else git.file_at(root, base, place)
    if content is None:
        raise UsageError(
            f"There is no file {path} at {revision}, and none is taken from the checkout under test.",
            f"Commit it there first, or name its path in the repository with --{flag}.",
        )
    return content


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a link to a device would never end
            raise UsageError(f"{path} is no file.", "Give a file that `pytest --kgate-json PATH` wrote.")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", "Check the path and its permissions.") from error


def _elsewhere(checkout: Checkout, records: list[Record]) -> list[str]:
    """Complaints that many records share are told once."""
    found: dict[str, list[str]] = {}
    for record in records:
        for clause in checkout.complaints(record):
            found.setdefault(clause, []).append(record["test"])
    return [f"{_which(tests)}: {clause}" for clause, tests in found.items()]


def _which(tests: list[str]) -> str:
    return tests[0] if len(tests) == 1 else f"{tests[0]} and {text.counted(len(tests) - 1, 'other record')}"


def _unlike(records: list[Record]) -> list[str]:
    lines = []
    for record in records:
        found = [*lacking(record), *complaints(record)]
        measured_by = record["environment"].get("kgate")
        if found and measured_by != __version__:
            found.append(
                f"it was measured by pytest-kgate {measured_by}, and this is {__version__}: verify it with that"
            )
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        lines += [f"{record['test']}: {clause}" for clause in (*found[:_SHOWN], *more)]
    return [*lines, *(f"{test}: {clause}" for test, clause in of_all(records))]


def _fine(name: str, checkout: Checkout, records: list[Record]) -> str:
    if name == "checkout":
        return f"checkout  {checkout.head[:12]} is what was measured"
    judged = text.counted(sum(len(record["gates"]) for record in records), "gate")
    counted = text.counted(len(records), "record")
    return f"again     {judged} of {counted}, judged again from their samples: all as recorded"

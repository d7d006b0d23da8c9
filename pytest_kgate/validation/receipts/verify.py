"""`kgate verify`: recorded sessions held to a policy, one file of rules that a change must meet to be merged.

With --signed the records are receipts: signed by someone on a list, measured of this checkout, and judged again here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.report import format as text
from pytest_kgate.report.ci import untrusted
from pytest_kgate.report.ci.markdown import policy_section
from pytest_kgate.report.ci.step_summary import append
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.document import parse
from pytest_kgate.report.record.document import read
from pytest_kgate.report.together.policy import file as policy
from pytest_kgate.report.together.policy.findings import Finding

_CUT_OFF = 2
"""The exit status where a file lacks its end: what is missing may have broken a rule."""

_SHOWN = 12
"""Lines of what a rule read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kgate verify`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="written by `pytest --kgate-json FILE`")
    parser.add_argument(
        "--policy",
        type=Path,
        default=Path("kgate-policy.toml"),
        metavar="POLICY",
        help="the rules, in TOML; default: kgate-policy.toml",
    )
    parser.add_argument(
        "--signed",
        action="store_true",
        help="the files must be signed (`kgate sign`), be of this checkout, and be judged again as they are recorded; "
        "policy and signers are those of --base",
    )
    parser.add_argument(
        "--base",
        metavar="REV",
        help="with --signed: a revision that the change at hand has no part in, origin/main say",
    )
    parser.add_argument(
        "--signers",
        type=Path,
        default=Path("kgate-allowed-signers"),
        metavar="FILE",
        help="with --signed: the list of allowed signers, as ssh-keygen has it; default: kgate-allowed-signers",
    )


def run(options: argparse.Namespace) -> int:
    """Judge each rule, and say what it read; returns 1 where one does not hold, 2 where a file is cut off.

    In a step of GitHub Actions its summary is told, too.
    """
    if options.signed != (options.base is not None):
        raise UsageError(
            "--signed and --base belong together.",
            "Write --signed --base origin/main: who may sign, and what is demanded, is read from that revision.",
        )
    refused: list[str] = []
    try:
        if options.signed:
            from pytest_kgate.validation.receipts import receipts  # which needs NumPy and SciPy

            rules, told, refused, contents = receipts.examined(options)
            print("\n".join(map(_printable, told)))
            files = [parse(content, path) for path, content in contents.items()]
        else:
            rules = policy.read(options.policy)
            files = [read(path) for path in options.files]
    except UsageError as error:
        unreadable = [Finding.of_fault(error)]
        append(lambda room: policy_section(unreadable), "this")
        raise
    records = merge(found for found, _ in files)
    findings = [rule.judge(records) for rule in rules]
    for finding in findings:
        print("\n".join(map(_printable, _lines(finding))))
    broken = sum(not one.holds for one in findings)
    print(f"\n{_total(len(rules), broken, len(refused))}")
    untold = append(lambda room: _refused(refused) + policy_section(findings), "this policy")
    if untold is not None:
        print(untold, file=sys.stderr)
    cut_off = [clause for _, clause in files if clause is not None]
    for clause in cut_off:
        print(f"kgate: {clause}", file=sys.stderr)
    return _CUT_OFF if cut_off else int(broken > 0 or bool(refused))


def _refused(reasons: list[str]) -> str:
    """For a step's summary: why receipts are not believed; empty where they are."""
    lines = [f"- {untrusted.words(reason)}\n" for reason in reasons[:_SHOWN]]
    more = f"- and {len(reasons) - _SHOWN} more\n" if len(reasons) > _SHOWN else ""
    return "".join(["#### Receipts are refused\n\n", *lines, more, "\n"]) if reasons else ""


def _total(rules: int, broken: int, refused: int) -> str:
    said = f"{text.counted(rules, 'rule')}: {f'{broken} broken' if broken else 'all hold'}"
    return f"{said}; {text.counted(refused, 'reason')} to refuse the receipts" if refused else said


def _printable(line: str) -> str:
    """In one line, whatever a record's names hold: a line of its own could be a command to CI."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def _lines(finding: Finding) -> list[str]:
    lines = [f"{'holds' if finding.holds else 'BROKEN':<7}{finding.rule_text}"]
    words = {True: "yes", False: "no", None: ""}
    return lines + [f"         {words[holds]:<4}{said}" for holds, said in finding.told(_SHOWN)]

"""`kgate verify`: recorded sessions held to a policy, one file of rules that a change must meet to be merged."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.report import format as text
from pytest_kgate.report.ci.markdown import policy_section
from pytest_kgate.report.ci.step_summary import append
from pytest_kgate.report.record.document import merge
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


def run(options: argparse.Namespace) -> int:
    """Judge each rule, and say what it read; returns 1 where one does not hold, 2 where a file is cut off.

    In a step of GitHub Actions its summary is told, too.
    """
    try:
        rules = policy.read(options.policy)
    except UsageError as error:
        unreadable = [Finding.of_fault(error)]
        append(lambda room: policy_section(unreadable), "this")
        raise
    files = [read(path) for path in options.files]
    records = merge(found for found, _ in files)
    findings = [rule.judge(records) for rule in rules]
    for finding in findings:
        print("\n".join(_lines(finding)))
    broken = sum(not one.holds for one in findings)
    count = text.counted(len(findings), "rule")
    print(f"\n{count}: all hold" if not broken else f"\n{count}: {broken} broken")
    untold = append(lambda room: policy_section(findings), "this policy")
    if untold is not None:
        print(untold, file=sys.stderr)
    cut_off = [clause for _, clause in files if clause is not None]
    for clause in cut_off:
        print(f"kgate: {clause}", file=sys.stderr)
    return _CUT_OFF if cut_off else int(broken > 0)


def _lines(finding: Finding) -> list[str]:
    lines = [f"{'holds' if finding.holds else 'BROKEN':<7}{finding.rule_text}"]
    words = {True: "yes", False: "no", None: ""}
    return lines + [f"         {words[holds]:<4}{said}" for holds, said in finding.told(_SHOWN)]

"""`kgate verify`: recorded sessions held to a policy, one file of rules that a change must meet to be merged."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_kgate.report import format as text
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.document import read
from pytest_kgate.report.together.policy import file as policy
from pytest_kgate.report.together.policy.rules import Finding

_CUT_OFF = 2
"""The exit status where a file lacks its end: what is missing may have broken a rule."""

_SHOWN = 12
"""Readings of a rule; those that made it what it is come first."""


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
    """Judge each rule, and say what it read; returns 1 where one does not hold, 2 where a file is cut off."""
    rules = policy.read(options.policy)
    files = [read(path) for path in options.files]
    records = merge(found for found, _ in files)
    findings = [rule.judge(records) for rule in rules]
    for finding in findings:
        print("\n".join(_lines(finding)))
    broken = sum(not one.holds for one in findings)
    count = text.counted(len(findings), "rule")
    print(f"\n{count}: all hold" if not broken else f"\n{count}: {broken} broken")
    cut_off = [clause for _, clause in files if clause is not None]
    for clause in cut_off:
        print(f"kgate: {clause}", file=sys.stderr)
    return _CUT_OFF if cut_off else int(broken > 0)


def _lines(finding: Finding) -> list[str]:
    lines = [f"{'holds' if finding.holds else 'BROKEN':<7}{finding.rule_text}"]
    readings = sorted(finding.readings, key=lambda one: one.holds != finding.holds)
    lines += [f"         {'yes' if one.holds else 'no':<4}{one.said}" for one in readings[:_SHOWN]]
    if len(readings) > _SHOWN:
        lines.append(f"         and {len(readings) - _SHOWN} more")
    return lines if readings else [*lines, "         no record is of that"]

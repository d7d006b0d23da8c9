"""`kgate insights`: the rules by which findings are made of counters."""

from __future__ import annotations

import argparse
import textwrap

from pytest_kgate.report.page import block
from pytest_kgate.report.page import markdown
from pytest_kgate.report.text.render import usual_columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `kgate insights`."""
    block.add_arguments(parser, "replace a block of this file by the table")


def run(options: argparse.Namespace) -> int:
    """Print the rules, or write their table into a page."""
    block.check(options)
    if options.into is not None:
        block.write(options, page_table())
        return 0
    from pytest_kgate.profile.insights.rules.table import RULES

    width = usual_columns()
    for rule in RULES:
        print(textwrap.fill(f"{rule.name} ({rule.confidence}): {rule.condition}", width, subsequent_indent="  "))
        for told in (rule.advice, f"of {', '.join(rule.needs)}"):
            print(textwrap.fill(told, width, initial_indent="    ", subsequent_indent="    "))
    return 0


def page_table() -> str:
    """The rules in Markdown, in their order."""
    from pytest_kgate.profile.insights.rules.table import RULES

    rows = [
        (
            f"`{rule.name}`",
            rule.condition,
            rule.confidence,
            rule.advice,
            ", ".join(f"`{name}`" for name in rule.explains),
            rule.source,
        )
        for rule in RULES
    ]
    head = ("finding", "when", "how sure", "what to try", "stands before", "after")
    return markdown.grid(head, (), rows, cells_are_markdown=True)

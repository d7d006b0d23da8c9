"""`kgate metrics`: the short names that a `metrics` marker knows, and what each is in Nsight Compute's own."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

from pytest_kgate.profile.nsight.metrics.metric import ARCHITECTURES
from pytest_kgate.profile.nsight.metrics.metric import Metric
from pytest_kgate.profile.nsight.metrics.table import GROUPS
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import ON_REQUEST
from pytest_kgate.profile.nsight.metrics.table import architecture
from pytest_kgate.profile.nsight.metrics.table import find
from pytest_kgate.profile.nsight.metrics.table import is_raw
from pytest_kgate.profile.nsight.metrics.table import written
from pytest_kgate.report.page import block
from pytest_kgate.report.page import markdown
from pytest_kgate.report.text.render import usual_columns

_EXAMPLES = {"%": ">= 60 %", "bytes": "<= 64 MiB", "seconds": "<= 20 us", "hertz": ">= 1.5 GHz"}

_HEAD = ("name", "unit", "what it is", "several launches", "Nsight Compute")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the verb takes."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="all that is known of these; a raw name works, too")
    parser.add_argument("--arch", metavar="SM", help="only what a GPU such as sm_90 has, with its raw names")
    block.add_arguments(parser, "replace a block of this file by the table")


def run(options: argparse.Namespace) -> int:
    """Run the verb."""
    block.check(options)
    where = architecture(options.arch) if options.arch else None
    if options.into is not None:
        block.write(options, page_table())
    elif options.names:
        print("\n\n".join(details(_row(name), where) for name in options.names))
    else:
        print("\n".join(listing(where)))
    return 0


def listing(arch: str | None = None) -> Iterator[str]:
    """The table for a terminal: of all metrics, or of those that one of `ARCHITECTURES` has, with its raw names."""
    width = max(map(len, METRICS))
    for group, rows in GROUPS.items():
        yield f"{group}{', on request' if group in ON_REQUEST else ''}:"
        for row in rows:
            if arch is not None and arch not in row.architectures:
                continue
            start = f"  {row.name:{width}}  {row.unit or '-':12}  "
            indent = " " * len(start)
            yield textwrap.fill(row.meaning, usual_columns(), initial_indent=start, subsequent_indent=indent)
            if arch is not None:
                yield f"{indent}{written(row, arch)}"
    more = "`kgate metrics NAME` says more of one; any name of Nsight Compute's own can be demanded, too. "
    more += "What is on request is read by `kgate profile`, by a session for a marker that names it, and of every test "
    more += "under --kgate-profile-counters all."
    yield "\n" + textwrap.fill(more, usual_columns())


def details(row: Metric, arch: str | None = None) -> str:
    """All that is known of one metric."""
    lines = [f"{row.name} ({row.unit or 'a plain number'})", *textwrap.wrap(row.meaning, 100)]
    lines.append(f"several launches: {combination(row)}")
    for raw, names in _by_raw(row, arch).items():
        lines.append(f"{'all GPUs' if len(names) == len(ARCHITECTURES) else ', '.join(names)}: {raw}")
    example = _EXAMPLES.get(row.unit, "<= 100")
    lines.append(f'to demand it: @pytest.mark.metrics({row.name}="{example}")')
    return "\n  ".join(lines)


def combination(row: Metric) -> str:
    """How the values of several launches make one of the whole call."""
    if row.ratio:
        return f"{row.ratio[0]} / {row.ratio[1]}" + (f" * {row.scale:g}" if row.scale != 1 else "")
    words = {"sum": "added up", "max": "the largest", "min": "the smallest", "mean": f"mean, weighted by {row.weight}"}
    return words[row.combine]


def page_table() -> str:
    """The table of metrics in Markdown, for a page."""
    rows = [
        (
            f"`{row.name}`",
            row.unit,
            row.meaning,
            combination(row).replace("_", "\\_").replace("*", "\\*"),
            _raw_cell(row),
        )
        for row in METRICS.values()
    ]
    return markdown.grid(_HEAD, (), rows, cells_are_markdown=True)


def _raw_cell(row: Metric) -> str:
    """The raw names; where they differ, with the architectures that have them."""
    if row.ratio:
        return ""
    by_raw = _by_raw(row, None)
    if len(by_raw) == 1 and row.architectures == ARCHITECTURES:
        return "`" + next(iter(by_raw)) + "`"
    return "; ".join(f"{', '.join(names)}: `{raw}`" for raw, names in by_raw.items())


def _by_raw(row: Metric, arch: str | None) -> dict[str, list[str]]:
    """Raw names -> the architectures that have them."""
    found: dict[str, list[str]] = {}
    for one in row.architectures:
        if arch in (None, one):
            found.setdefault(written(row, one), []).append(one)
    return found


def _row(name: str) -> Metric:
    """The row of a short name, or the one that a raw name belongs to; raises `UsageError`."""
    if not is_raw(name):
        return find(name)
    rows = [row for row in METRICS.values() if any(name in row.on(arch) for arch in ARCHITECTURES)]
    rows.sort(key=lambda row: len(row.raw))  # that of this name alone goes before a sum that it is part of
    return rows[0] if rows else Metric(name, "", (name,), "It has no short name.", "max")

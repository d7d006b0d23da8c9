"""The options that say where a session keeps what it found, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_kgate.evaluation.options import parse
from pytest_kgate.evaluation.options.option import option
from pytest_kgate.evaluation.options.option import path


@dataclass(frozen=True, init=False, repr=False, eq=False)  # which are made once, for all fields of `Options`
class Kept:
    """A part of `Options`. Paths are absolute, where they were read by `from_config`."""

    # The rows of a table, of one shape since they go on in `Options`: what is made of those is made of these, too.

    json: Path | None = path(
        "Write the records of all races to this file.",
        of="a file, such as records.json",
        metavar="PATH",
    )
    html: Path | None = path(
        "Write a page that shows all races to this file: one HTML file, which needs no network.",
        of="a file, such as kgate.html",
        metavar="PATH",
    )
    history: Path | None = path(
        "Append a line for each gate to this history: a file, or a directory in which each session has its own.",
        of="a file or of a directory, such as kgate-history.jsonl",
        metavar="PATH",
    )
    compare: str | None = option(
        None,
        "Show each gate beside what it was: the last time, at a revision (both of --kgate-history), or in a file.",
        parse=parse.name,
        allowed="last, a revision, or a file of records or of a history",
        metavar="last|REV|FILE",
    )
    against: str | None = option(
        None,
        "Race each candidate that is in a file of a git repository against what it was at this revision, too, "
        "behind the call's own gates: it may not be slower by more than the `regression` marker's margin (1 %).",
        parse=parse.revision,
        allowed="a revision of git, such as origin/main",
        metavar="REV",
        per_test=True,
    )

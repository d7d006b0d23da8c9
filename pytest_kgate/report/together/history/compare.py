"""A session beside an earlier one: the habit of comparing stored numbers, told as what it is.

The two were measured apart: what differs between their days stands in the difference, and no verdict follows from it.
A ratio travels between days and machines better than a latency, whose arms did not run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.report import format as text
from pytest_kgate.report.record import document
from pytest_kgate.report.together.history.point import Point
from pytest_kgate.report.together.history.point import points_of
from pytest_kgate.report.together.history.series import Series
from pytest_kgate.report.together.history.series import day
from pytest_kgate.report.together.history.series import series_of
from pytest_kgate.report.together.history.store import read
from pytest_kgate.system.provenance import git

LAST = "last"

_CONDITIONS = ("device", "GPU", "card", "driver", "CUDA", "PyTorch", "timer", "cache", "dtype")
"""What `Point.conditions` are, by what a reader calls them."""


def earlier(what: str, history: Path | None, folder: Path) -> list[Point]:
    """The points that `--kgate-compare` names: a file, or those of a history that are the last, or of a revision.

    Raises `UsageError` where there is none.
    """
    path = folder / what
    if what != LAST and path.exists():
        if path.suffix == ".json":
            return [point for record in document.load(path) for point in points_of(record)]
        return list(read(path).points)
    if history is None:
        raise UsageError(
            f"--kgate-compare {what} {'needs' if what == LAST else 'is no file, and a revision needs'} a history.",
            "Name the one that sessions write: --kgate-history PATH.",
        )
    found = list(read(history).points) if history.exists() else []
    if what == LAST:
        return found
    git.demand_one_meaning(folder, what)
    commit = git.commit_of(folder, what)
    if commit is None:
        raise UsageError(f"--kgate-compare {what} is no file and no revision.", "Write last, a revision, or a file.")
    return [point for point in found if point.commit == commit and not point.dirty]


def comparison(now: Sequence[Point], then: Sequence[Point], what: str) -> list[str]:
    """Lines for the summary: of each gate its ratio and its latency, beside the latest of the earlier ones."""
    own = {point.identity for point in now}
    before = {_key(one): one for one in series_of(point for point in then if point.identity not in own)}
    lines, missing = [], 0
    for one in series_of(now):
        earlier_one = before.get(_key(one))
        if earlier_one is None:
            missing += 1
        else:
            lines += _lines(one.title, one.points[-1], earlier_one.points[-1])
    if not lines:
        return [f"Compared with {what}: none of these gates was measured then."]
    missed = [f"  {text.counted(missing, 'gate')} not measured then"] if missing else []
    return [f"Compared with {what}. The sessions were measured apart: no verdict follows.", *lines, *missed]


def _key(one: Series) -> tuple[str, int, float]:
    return one.test, one.call, one.quantile


def _lines(title: str, now: Point, then: Point) -> list[str]:
    commit = f" at {then.commit[:10]}{' and changes' if then.dirty else ''}" if then.commit else ""
    lines = [f"  {title}, measured before on {day(then)}{commit}"]
    if now.ratio and then.ratio:
        decimals = text.decimals_for(now.ratio, then.ratio)
        meet = None not in (now.low, now.high, then.low, then.high) and _meet(now, then)
        other = f", to {then.reference} then" if then.reference != now.reference else ""
        lines.append(
            f"    ratio    {text.ratio(now.ratio, decimals)}, was {text.ratio(then.ratio, decimals)} "
            f"({_percent(now.ratio / then.ratio)}{'; the intervals meet' if meet else ''}){other}"
        )
    pairs = zip(_CONDITIONS, now.conditions, then.conditions, strict=True)
    differing = [name for name, here, there in pairs if here != there]
    if differing:
        lines.append(f"    latency  not compared: another {', '.join(differing)}")
    else:
        here, there = now.candidate_seconds, then.candidate_seconds
        reference = _percent(now.reference_seconds / then.reference_seconds)
        was = f"was {text.seconds(there)} ({_percent(here / there)}; the reference {reference})"
        lines.append(f"    latency  {text.seconds(here)}, {was}")
    return lines


def _meet(now: Point, then: Point) -> bool:
    low, high = max(now.low or 0.0, then.low or 0.0), min(now.high or 0.0, then.high or 0.0)
    return low <= high


def _percent(quotient: float) -> str:
    return f"{100 * (quotient - 1):+.1f} %"

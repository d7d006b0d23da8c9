"""The source lines at which warps were found most, of a report that Nsight Compute's own module reads.

Kernels without line information (no `-lineinfo`, or a library's) are told by their instructions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.profile.nsight.reading.launch import UnreadableReport
from pytest_kgate.profile.nsight.reading.report_file import actions_of

if TYPE_CHECKING:
    from pytest_kgate.profile.nsight.collection.collect import CountedCall

MOST_LINES = 12

_SAMPLES = "smsp__pcsamp_sample_count"
_STALLED = "smsp__pcsamp_warps_issue_stalled_"
_NOT_ISSUED = "_not_issued"
_ISSUES = "selected"
"""No stall: the warp issued."""

_FEW = 0.05
"""Of a place's samples: a reason with less is not told."""

_LONGEST_TEXT = 90


def stalled_lines(report: Path, call: CountedCall) -> list[str]:
    """Where each launch of a call stalls: a title, then a line a place, the one with most samples first.

    Raises `UnreadableReport`.
    """
    import ncu_report

    try:
        actions = list(actions_of(ncu_report.load_report(str(report))))
        lines: list[str] = []
        for number, place in enumerate(call.places):
            lines.append(f"launch {number + 1}, {call.launches[number]['kernel']}:")
            lines += list(_most_sampled(actions[place])) or ["  it has no samples"]
    except Exception as error:  # the module's own errors are of no documented type
        raise UnreadableReport(
            f"{report.name} does not tell where warps waited: {error}.", "Collect it again, with `--source`."
        ) from None
    return lines


def _most_sampled(action: Any) -> Iterator[str]:
    if _SAMPLES not in action.metric_names():
        return
    samples = _by_address(action.metric_by_name(_SAMPLES))
    stalls = {
        name.removeprefix(_STALLED): _by_address(action.metric_by_name(name))
        for name in action.metric_names()
        if name.startswith(_STALLED) and not name.endswith(_NOT_ISSUED)
    }
    places = {address: _line(action, address) for address in samples}
    total = sum(samples.values())
    if 2 * sum(samples[address] for address, line in places.items() if line) < total:
        places = {address: " ".join(action.sass_by_pc(address).split()) for address in samples}
    found: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {}
    for address, count in samples.items():
        place = places[address] or "(no line)"
        found[place] += count
        reasons.setdefault(place, Counter()).update({name: each.get(address, 0) for name, each in stalls.items()})
    for place, count in found.most_common(MOST_LINES):
        if count:
            yield f"  {count / total:6.1%}  {place}{why(reasons[place])}"


def why(reasons: Mapping[str, float]) -> str:
    """`  (wait 60%, math 30%)`: what most warps of a place were found in, to stand behind it."""
    samples = sum(reasons.values())
    largest = sorted((one for one in reasons.items() if one[0] != _ISSUES), key=lambda one: -one[1])[:2]
    shown = [f"{name} {value / samples:.0%}" for name, value in largest if value > _FEW * samples]
    return f"  ({', '.join(shown)})" if shown else ""


def _by_address(metric: Any) -> dict[int, int]:
    addresses = metric.correlation_ids()
    return {addresses.as_uint64(each): metric.as_uint64(each) for each in range(metric.num_instances())}


def _line(action: Any, address: int) -> str:
    """`csrc/kernels/wmma.cu:205  p[j] = ...`; empty where the compiler has left no line."""
    info = action.source_info(address)
    if info is None:
        return ""
    path, number = Path(info.file_name()), info.line()
    sources = action.source_files()
    lines = sources[str(path)].splitlines() if str(path) in list(sources) else []
    text = lines[number - 1].strip()[:_LONGEST_TEXT] if 0 < number <= len(lines) else ""
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else Path(*path.parts[-2:])
    return f"{shown}:{number}  {text}".rstrip()

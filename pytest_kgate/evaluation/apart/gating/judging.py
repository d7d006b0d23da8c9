"""What `kgate gate` does: which files it was given, the verdicts, and what is printed of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.apart import measurement
from pytest_kgate.evaluation.apart.gating.comparable import demand_comparable
from pytest_kgate.evaluation.apart.gating.rejudge import Rejudged
from pytest_kgate.evaluation.apart.gating.rejudge import rejudge
from pytest_kgate.evaluation.apart.measurement import Measurement
from pytest_kgate.report import format as text
from pytest_kgate.report.record.document import read
from pytest_kgate.report.rows import quantile_name
from pytest_kgate.report.text.render import say
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge_apart import FEWEST_ROUNDS
from pytest_kgate.statistics.judge_apart import judge_apart
from pytest_kgate.statistics.judge_apart import rule_in_words

_CUT_OFF = 2

_LABEL = 12
"""Columns of `  demanded  ` and the like."""

_AFTER = (
    "The demand came after the data: chosen by them, it may be met by luck, and the error rates hold for a demand that "
    "was made before. Race anew for a verdict that counts."
)


def judge_files(options: argparse.Namespace) -> int:
    """Judge and print; 1 where something does not pass, 2 where a file of records is cut off."""
    gate = _gate(options)
    files: Sequence[Path] = options.files
    if len(files) == 2 and any(measurement.is_measurements(path) for path in files):
        reference, candidate = (measurement.load(path) for path in files)
        return _apart(gate, candidate, reference)
    if len(files) != 1:
        raise UsageError(
            f"kgate gate takes two files of `kgate measure`, or one of `pytest --kgate-json`: got {len(files)}.",
            "Give the reference's and the candidate's measurements: kgate gate sdpa.json mine.json.",
        )
    if measurement.is_measurements(files[0]):
        raise UsageError(
            f"{files[0]} holds the measurements of one arm.", "Give those of the reference first, then the candidate's."
        )
    records, cut_off = read(files[0])
    if not records:
        cut = ", and is cut off" if cut_off is not None else ""
        raise UsageError(f"{files[0]} has no records{cut}.", "Give the file of a session that raced something.")
    judged = [rejudge(record, gate) for record in records if "against" not in record]
    for one in judged:
        _show(_of_record(one))
    if len(judged) < len(records):
        others = text.counted(len(records) - len(judged), "record")
        _show([f"Left out: {others} of races against another revision, which is no reference of the problem."])
    if not judged:
        raise UsageError(
            f"{files[0]} has no races but those against another revision.", "Give the file of a session with others."
        )
    say(_AFTER)
    if cut_off is not None:
        print(f"kgate: {cut_off}; what is missing may fail", file=sys.stderr)
        return _CUT_OFF
    return 0 if all(one.passes for one in judged) else 1


def _gate(options: argparse.Namespace) -> SpeedGate:
    for name, low, high in (("speedup", 0.0, float("inf")), ("alpha", 0.0, 1.0), ("quantile", 0.0, 1.0)):
        value = getattr(options, name)
        if not low < value < high:
            raise UsageError(
                f"--{name} cannot be {value:g}.",
                "It takes a positive number, such as 0.95." if name == "speedup" else "It takes one between 0 and 1.",
            )
    return SpeedGate(options.speedup, options.quantile, 1 - options.alpha)


def _apart(gate: SpeedGate, candidates: Sequence[Measurement], references: Sequence[Measurement]) -> int:
    demand_comparable(candidates, references)
    status = 0
    for candidate in candidates:
        reference = next(one for one in references if one.problem == candidate.problem)
        sides = [[run.samples for run in one.runs] for one in (candidate, reference)]
        least = min(len(samples) for side in sides for samples in side)
        if least < FEWEST_ROUNDS:
            raise UsageError(
                f"{candidate.problem} was measured in {text.counted(least, 'round')} of a process, and a verdict takes "
                f"{FEWEST_ROUNDS}.",
                "Measure with more --iters.",
            )
        tick = max(candidate.tick_seconds, reference.tick_seconds)
        judgement = judge_apart(gate, *sides, tick_seconds=tick)
        unchecked = "" if candidate.checked else "; the candidate's answers were not checked"
        lines = [
            f"{judgement.verdict.value}: {candidate.arm} against {reference.arm} on {candidate.problem}{unchecked}",
            *_measured(judgement),
            "  apart     the two share no rounds: what differs between their times and processes stands in the ratio",
            f"  rule      {rule_in_words(gate, len(sides[0]), len(sides[1]))}",
            *([f"  reason    {judgement.reason}"] if judgement.reason else []),
        ]
        _show(lines)
        status = status if judgement.verdict is Verdict.PASS else 1
    return status


def _show(lines: Sequence[str]) -> None:
    """In the terminal's columns; what is told behind a label goes on below it."""
    for line in lines:
        head, told = (line[:_LABEL], line[_LABEL:]) if line.startswith("  ") else ("", line)
        say(told, " " * len(head), first=head)


def _of_record(one: Rejudged) -> list[str]:
    test = one.record["test"]
    if one.judgement is None:
        return [f"{one.verdict}: {test}, whatever is demanded{f': {one.reason}' if one.reason else ''}"]
    lines = [f"{one.verdict}: {test}", *_measured(one.judgement)]
    return [*lines, *([f"  reason    {one.reason}"] if one.reason else [])]


def _measured(judgement: Judgement) -> list[str]:
    gate, ratio = judgement.gate, judgement.ratio
    confidence = text.percent(gate.confidence)
    of = quantile_name(gate.quantile)
    lines = [
        f"  demanded  {of + ' ' if of else ''}latency ratio below {text.bound(gate.bound)}, at {confidence} confidence"
    ]
    if ratio is not None:
        decimals = text.decimals_for(ratio.low, ratio.high, gate.bound)
        shown = f"{text.ratio(ratio.estimate, decimals)} {text.interval(ratio.low, ratio.high, decimals)}"
        lines.append(f"  measured  {shown} after {text.rounds(judgement.rounds, judgement.look)}")
    return lines

"""The text of a failed gate: what was demanded, what was measured, how far off that is, and what to try."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.record.samples import percentiles_of
from pytest_kgate.report.record.values import finite
from pytest_kgate.report.rows import latency
from pytest_kgate.report.rows import number
from pytest_kgate.report.rows import quantile_name
from pytest_kgate.report.text.hints import hints
from pytest_kgate.report.text.layers import in_the_winning_layer
from pytest_kgate.report.text.profiled.insights import why
from pytest_kgate.report.text.render import usual_columns
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.statistics.wording import significant

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.limits import LimitFacts
    from pytest_kgate.report.record.facts.sanitizer import ToolRunFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.report.record.record import ReferenceFacts
    from pytest_kgate.statistics.gate_facts import GateFacts
    from pytest_kgate.statistics.gate_facts import ProcessesFacts

_LABEL = 12
_NARROWEST = 60

_MOST_DIGITS = 17
"""Of a number in float64, that any two differ in."""


def failure_text(record: Record, width: int | None = None, *, whole: bool = False) -> str:
    """The message of a `GateFailure`, made from the call's record; also fit to show a record that passed.

    Latency percentiles are shown where a gate is on one, and where the `whole` record is to be shown. No line is longer
    than `width` characters, down to 60, except one with a word that is, and the command to repeat it.
    """
    width = max(width or usual_columns(), _NARROWEST)
    reference = record.get("reference")
    against = f" against {_named(reference)}" if reference else ""
    subject = f"{record['candidate']['name']}{against} on" if "selftest" not in record else "the check of"
    lines = wrapped(f"{record['verdict']}: {subject} {record['problem']['name']}", width)
    for gate in record["gates"]:
        lines += ["", *_gate(record, gate, width)]
    if not record["gates"]:
        lines += _measured(record, width)
    limits = record.get("limits", [])
    for limit in limits:
        if limit["verdict"] != "PASS":
            lines += ["", *_limit(limit, width)]
    held = [one for one in limits if one["verdict"] == "PASS"]
    if held:
        shown = ", ".join(f"{one['name']} {text.limit_value(one)} {text.limit_bound(one)}" for one in held)
        lines += ["", *_entry("held", shown, width)]
    if record["reason"] and record["reason"] not in (one["reason"] for one in (*record["gates"], *limits)):
        lines += ["", *_entry("reason", _advice(record, record["reason"]), width)]
    details = [
        ("sanitizer", _sanitizer(record)),
        ("error", _error(record)),
        ("worst", _worst(record)),
        ("where", _where(record)),
        ("latency", _latencies(record)),
        ("quantiles", _quantiles(record, whole)),
        ("rate", _rates(record)),
        ("roofline", _roofline(record)),
        ("timing" if record.get("timing") else "device", _timing(record)),
        ("why", "\n".join(why(record))),
    ]
    lines += ["", *(line for label, value in details if value for line in _entry(label, value, width))]
    tries = hints(record)
    if tries:
        lines += [""]
    for label, sentences in (("try", tries), ("warning", record.get("warnings", ()))):
        for index, sentence in enumerate(sentences):
            lines += _entry(label if index == 0 else "", _advice(record, sentence), width)
    return "\n".join([*lines, f"  {'again':<{_LABEL - 2}}{again(record)}"])  # whole, to be copied


def _advice(record: Record, sentence: str) -> str:
    """With the options that it names where they are set."""
    return in_the_winning_layer(sentence, record["asked"]["sources"] if "asked" in record else {})


def again(record: Record) -> str:
    """The command that repeats the call, from where the session was started."""
    asked = record.get("asked")
    if asked and not asked["command"]:
        return f"evaluate(candidate, problem, ..., seed={record['seeds']['session']!r})"
    command = asked["command"] if asked else ["pytest", record["test"]]
    fixed = asked is not None and asked["sources"].get("seed") in ("marker", "kbench")
    seed = [] if fixed else ["--kgate-seed", str(record["seeds"]["session"])]
    return shlex.join([*command, *seed])


def _gate(record: Record, gate: GateFacts, width: int) -> list[str]:
    bound = number(gate["bound"])
    of = quantile_name(gate["quantile"])
    confidence = text.percent(gate["confidence"])
    demand = f"{of + ' ' if of else ''}latency ratio below {text.bound(bound)}, at {confidence} confidence"
    lines = _entry("demanded", demand, width)
    found = gate["ratio"]
    if found:
        low, estimate, high = number(found["low"]), number(found["estimate"]), number(found["high"])
        decimals = text.decimals_for(low, high, bound)
        step = text.step_for([(low, high, bound)])
        rounds = text.rounds(gate["rounds"], gate["look"])
        shown = f"{text.ratio(estimate, decimals)} {text.interval(low, high, decimals)} after {rounds}"
        processes = gate.get("processes")
        if processes:
            shown += f" in {text.counted(len(processes['ratios']), 'process')}"
        lines += _entry("measured", f"{shown}   {text.drawing(low, estimate, high, bound, step, 21)}", width)
        label = "off by" if gate["verdict"] == "FAIL" else "margin"
        lines += _entry(label, _distance(record, gate, estimate), width)
        if processes:
            lines += _entry("processes", _processes(processes, decimals), width)
    verdict = ": ".join(part for part in (gate["verdict"], _advice(record, gate["reason"])) if part)
    return lines + _entry("verdict", verdict, width)


def _measured(record: Record, width: int) -> list[str]:
    """The ratio of a race that was to decide nothing."""
    timing = record.get("timing")
    found = timing.get("ratio") if timing else None
    if not timing or not found:
        return []
    low, estimate, high = number(found["low"]), number(found["estimate"]), number(found["high"])
    decimals = text.decimals_for(low, high)
    shown = f"latency ratio {text.ratio(estimate, decimals)} {text.interval(low, high, decimals)}"
    return ["", *_entry("measured", f"{shown} after {text.counted(timing['rounds'], 'round')}", width)]


def _limit(limit: LimitFacts, width: int) -> list[str]:
    of = f", in {limit['kernel']}" if limit["kernel"] else ""
    lines = _entry("demanded", text.limit_demand(limit), width)
    if limit["value"] is not None:
        lines += _entry("measured", f"{text.limit_value(limit)}{of}", width)
    return lines + _entry("verdict", f"{limit['verdict']}: {limit['reason']}", width)


def _distance(record: Record, gate: GateFacts, estimate: float) -> str:
    bound = number(gate["bound"])
    beyond = estimate / bound - 1
    side = "above" if beyond > 0 else "below"
    timing = record.get("timing")
    if not timing:
        return f"{text.percent(abs(beyond))} {side} the bound"
    # Of rounds that differ, the ratio of two latencies over all of them can lie on the other side of the bound.
    reference = latency(timing["reference"], number(gate["quantile"]))
    limit = f"the bound is {text.seconds(bound * reference)}, a call takes {text.seconds(estimate * reference)}"
    return f"{text.percent(abs(beyond))} {side} the bound: {limit}"


def _processes(processes: ProcessesFacts, decimals: int) -> str:
    ratios = ", ".join(text.ratio(number(ratio), decimals) for ratio in processes["ratios"])
    shown = f"{ratios}; sd {text.percent(math.sqrt(processes['variance_of_means']))}"
    if processes["variance_within"] is not None:
        shown += f", of which the rounds explain {text.percent(math.sqrt(processes['variance_within']))}"
    pooled = processes["pooled"]
    if not pooled:
        return shown
    low, high = number(pooled["low"]), number(pooled["high"])
    return f"{shown}; pooled, as if processes were alike, {text.interval(low, high, text.decimals_for(low, high))}"


def _sanitizer(record: Record) -> str:
    sanitizer = record.get("sanitizer")
    runs = sanitizer["runs"] if sanitizer else ()
    return "\n".join(f"{run['tool']}: {_found(run)}" for run in runs)


def _found(run: ToolRunFacts) -> str:
    """Not the first finding, which is the record's reason."""
    if run["verdict"] == "PASS":
        sizes = ", ".join(dict.fromkeys(one["problem"] for one in run["launched"]))
        warned = f", {text.counted(run['warnings'], 'warning')}" if run["warnings"] else ""
        return f"clean on {sizes}{warned}" if sizes else f"clean{warned}"
    return text.counted(run["errors"], "error") if run["verdict"] == "FAIL" and run["errors"] else run["reason"]


def _error(record: Record) -> str:
    found = record.get("correctness")
    if found is None:
        return ""
    if found.get("by_equal"):
        return ""
    relative = f" + {number(found['rtol']):g} |exact|" if found["rtol"] else ""
    origin = ", from the reference's own error" if found.get("default_tolerance") else ""
    if found.get("problem_tolerance"):
        origin = ", by the problem's own tolerance"
    allowed = f"allowed {text.error(found['atol'])}{relative}{origin}"
    candidate, reference = (text.error(number(found[key])) for key in ("candidate_error", "reference_error"))
    draws = text.counted(len(found["draws"]), "draw")
    return f"candidate {candidate}, reference {reference}, {allowed} (largest of {draws})"


def _worst(record: Record) -> str:
    correctness = record.get("correctness")
    worst = correctness.get("worst") if correctness else None
    if not worst:
        return ""
    index = ", ".join(str(i) for i in worst["index"])
    share = f"; {text.percent(worst['wrong_fraction'])} of that draw is wrong" if "wrong_fraction" in worst else ""
    candidate, exact = _values(worst["candidate"], worst["exact"])
    name = worst.get("output", "out")
    return f"{name}[{index}] = {candidate}, exact is {exact} ({worst['kind']} inputs of seed {worst['seed']}){share}"


def _where(record: Record) -> str:
    correctness = record.get("correctness")
    worst = correctness.get("worst") if correctness else None
    if correctness is None:
        return ""
    said = worst.get("where") if worst else None
    found = [f"all that is wrong lies at {said}"] if said else []
    return "; ".join([*found, *filter(None, [correctness.get("on_small")])])


def _values(candidate: float | str, exact: float | str) -> tuple[str, str]:
    """Both with as many digits as it takes to see that they differ, and no fewer than four."""
    for digits in range(4, _MOST_DIGITS + 1):
        shown = _value(candidate, digits), _value(exact, digits)
        if shown[0] != shown[1]:
            break
    return shown


def _value(value: float | str, digits: int) -> str:
    if isinstance(value, str) and value.endswith("j"):
        return f"{complex(value):.{digits}g}"
    return str(value) if isinstance(value, int) else f"{number(value):.{digits}g}"


def _latencies(record: Record) -> str:
    timing = record.get("timing")
    if not timing:
        return ""
    arms = []
    for name, arm in (("candidate", timing["candidate"]), ("reference", timing["reference"])):
        low, middle, high = (
            text.seconds(number(value)) for value in (arm["p10_seconds"], arm["median_seconds"], arm["p90_seconds"])
        )
        arms.append(f"{name} {middle} (p10 {low}, p90 {high})")
    return ", ".join(arms)


def _quantiles(record: Record, whole: bool) -> str:
    timing = record.get("timing")
    if not timing or not (whole or any(gate["quantile"] != 0.5 for gate in record["gates"])):
        return ""
    lines = []
    for name, arm in (("candidate", timing["candidate"]), ("reference", timing["reference"])):
        found = text.percentiles(percentiles_of(arm))
        lines += [f"{name} {found}"] if found else []
    return "\n".join(lines)


def _rates(record: Record) -> str:
    timing, problem = record.get("timing"), record["problem"]
    if not timing:
        return ""
    arms = []
    for name, arm in (("candidate", timing["candidate"]), ("reference", timing["reference"])):
        seconds = number(arm["median_seconds"])
        rates = [
            f"{text.significant(work / seconds / scale)} {unit}"
            for work, scale, unit in (
                (finite(problem["flops"]), 1e12, "TFLOP/s"),
                (finite(problem["bytes"]), 1e9, "GB/s"),
            )
            if work and seconds > 0 and math.isfinite(seconds)
        ]
        arms.append(f"{name} {' and '.join(rates)}" if rates else "")
    return ", ".join(arm for arm in arms if arm)


def _roofline(record: Record) -> str:
    """The least latency by what the device was seen to attain."""
    found = record.get("roofline")
    if not found:
        return ""
    return f"{text.seconds(found['floor_seconds'])} at least, measured {found['measured'][:10]}: {found['demand']}"


def _timing(record: Record) -> str:
    timing, environment = record.get("timing"), record.get("environment", {})
    device = (environment.get("gpu") or {}).get("name") or (environment.get("cpu") or {}).get("model") or ""
    if not timing:
        return device
    spent = f"{significant(timing['seconds_spent'], 2)} s of {number(timing['budget_seconds']):g} s spent"
    race = f"{timing['timer']} timer, {timing['cache']} cache, {spent}"
    return f"{race}, {device}" if device else race


def _named(reference: ReferenceFacts) -> str:
    return " ".join(part for part in (reference["name"], reference.get("backend")) if part)


def _entry(label: str, value: str, width: int) -> list[str]:
    lines = [line for part in value.splitlines() for line in wrapped(part, width - _LABEL)] or [""]
    return [f"  {label if index == 0 else '':<{_LABEL - 2}}{line}".rstrip() for index, line in enumerate(lines)]

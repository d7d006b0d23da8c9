"""The rules of a policy, and how each is judged on recorded sessions. A rule says what it read."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import hint
from pytest_kgate.report import format as text
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import number
from pytest_kgate.report.rows import quantile_name
from pytest_kgate.report.together.policy import presence
from pytest_kgate.report.together.policy.findings import Finding
from pytest_kgate.report.together.policy.findings import Reading

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.counters import MetricFacts
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.gate_facts import IntervalFacts


@dataclass(frozen=True)
class Rule:
    """One demand of a policy, with where it stands."""

    kind: str
    """One of `JUDGES`."""
    line: int
    values: Mapping[str, Any]
    """By the names of the file, checked; with the value of each that was left out, where it has one."""
    grid: frozenset[str] | None = None
    """The names of the shapes that count, such as `1x8x512x64-causal`; None: all problems, whatever they are."""

    def judge(self, records: Sequence[Record]) -> Finding:
        """The finding on these records. Of a test that was run again, its last run counts.

        A race against another revision says nothing of how fast the candidate is beside the reference of its problem:
        it is a gate that may fail, and no more.
        """
        meant = _last_runs(records)
        if self.kind not in ("gates", "age"):
            meant = [record for record in meant if "against" not in record]
        return JUDGES[self.kind](self, meant)


def _last_runs(records: Sequence[Record]) -> Sequence[Record]:
    """Without those of a run after which a plugin ran the test again, more strictly judged."""
    last: dict[object, int] = {}
    for record in records:
        run = _run(record)
        last[run] = max(last.get(run, 1), record.get("attempt", 1))
    return [record for record in records if record.get("attempt", 1) == last[_run(record)]]


def _run(record: Record) -> object:
    """What the tries of one call have in common, and calls of other sessions have not."""
    gpu = record["environment"].get("gpu") or {}
    return record["test"], record["call"], record["seeds"]["session"], str(gpu.get("uuid"))


def _finding(rule: Rule, demanded: str, readings: Sequence[Reading]) -> Finding:
    """Of a rule that must hold on all, or on so many problems."""
    on = rule.values.get("on", "all")
    met = {one.problem for one in readings if one.holds}
    holds = bool(readings) and all(one.holds for one in readings) if on == "all" else len(met) >= on
    where = "on all" if on == "all" else f"on at least {text.counted(on, 'problem')}"
    of = f" of {rule.values['grid']}" if rule.values.get("grid") else ""
    return Finding(rule.kind, rule.line, f"{demanded} {where}{of}", holds, readings)


def _meant(rule: Rule, records: Sequence[Record]) -> list[Record]:
    """Those that the rule is about."""
    pattern = rule.values.get("candidate", "*")
    return [
        record for record in records if fnmatchcase(record["candidate"]["name"], pattern) and _is_of(rule.grid, record)
    ]


def _is_of(grid: frozenset[str] | None, record: Record) -> bool:
    """Whether the record's problem, `sdpa 1x8x512x64-causal float16`, has a shape of the grid."""
    if grid is None:
        return True
    return record["problem"]["shape"] is not None and not grid.isdisjoint(record["problem"]["name"].split())


def _speedup(rule: Rule, records: Sequence[Record]) -> Finding:
    ratio, quantile = rule.values["ratio"], rule.values["quantile"]
    readings = []
    for record in _meant(rule, records):
        found, why = _interval(record, quantile)
        shown = f"{text.ratio(number(found['estimate']))} {_ends(found)}" if found else why
        readings.append(_reading(record, found is not None and number(found["high"]) < ratio, shown))
    name = quantile_name(quantile)
    return _finding(rule, f"the whole interval of the {f'{name} ' if name else ''}ratio below {ratio:g}", readings)


def _ends(found: IntervalFacts) -> str:
    return text.interval(number(found["low"]), number(found["high"]))


def _interval(record: Record, quantile: float) -> tuple[IntervalFacts | None, str]:
    """Of the latency ratio, at the recorded confidence; else why there is none that could be believed."""
    if not VERDICTS[record["verdict"]].of_gates:
        return None, record["verdict"]
    of_quantile = [gate for gate in record["gates"] if gate["quantile"] == quantile and gate["ratio"]]
    found = next((gate["ratio"] for gate in of_quantile if presence.is_sure(gate)), None)
    timing = record["timing"]
    if found is not None or timing is None:
        return found, "not raced"
    if "isolation" in record or any("processes" in gate for gate in record["gates"]):
        name = quantile_name(quantile)
        return None, f"no interval of the {name or 'ratio'}: where processes differ, a speedup marker of 95 % has one"
    from pytest_kgate.statistics.judge import measure

    arms = [decode_samples(timing[arm]["samples"]) for arm in ("candidate", "reference")]
    measured = measure(*arms, quantile=quantile)
    return measured.to_dict() if measured else None, "too few rounds for an interval"


def _counter(rule: Rule, records: Sequence[Record]) -> Finding:
    name, of, least, most = (rule.values.get(key) for key in ("name", "of", "at_least", "at_most"))
    readings = []
    for record in _meant(rule, records):
        counters = record.get("counters")
        metrics = counters["candidate"]["metrics"] if counters and counters["candidate"] else {}
        unknown = next((one for one in (name, of) if one is not None and one not in metrics), None)
        if unknown is not None:
            why = counters["reason"] if counters and counters["reason"] else "no counters: `--kgate-profile` reads them"
            nearest = hint(unknown, metrics) or " `--kgate-profile-counters all` reads more."
            readings.append(_reading(record, False, f"no {unknown}.{nearest}" if metrics else why))
            continue
        if of is not None and (why := _no_share(metrics[str(name)], metrics[of])):
            readings.append(_reading(record, False, why))
            continue
        value, shown = _value(metrics, str(name), of)
        holds = (least is None or value >= least) and (most is None or value <= most)
        readings.append(_reading(record, holds, shown))
    bounds = [f"{word} {bound:g}" for word, bound in (("at least", least), ("at most", most)) if bound is not None]
    return _finding(rule, f"{name}{f' / {of}' if of else ''} {' and '.join(bounds)}", readings)


_MEASURES = ("%", "bytes", "seconds", "hertz")
"""Units of which nothing is a share but what has the same."""


def _no_share(part: MetricFacts, whole: MetricFacts) -> str:
    """Why one counter is no share of another, as a clause; empty where it can be."""
    units = part["unit"], whole["unit"]
    if units[0] != units[1] and (units[0] in _MEASURES or units[1] in _MEASURES):
        return f"no share: {units[0] or 'a plain number'} of {units[1] or 'a plain number'}"
    return "no share: a counter below 0" if min(part["value"], whole["value"]) < 0 else ""


def _value(metrics: Mapping[str, MetricFacts], name: str, of: str | None) -> tuple[float, str]:
    """A counter, or what share it is of another one: of none it is none."""
    value, shown = metrics[name]["value"], text.quantity(metrics[name]["value"], metrics[name]["unit"])
    if of is None:
        return value, shown
    whole = metrics[of]["value"]
    share = value / whole if whole else math.inf if value else 0.0
    return share, f"{share:.3g}, {shown} of {text.quantity(whole, metrics[of]['unit'])}"


def _resources(rule: Rule, records: Sequence[Record]) -> Finding:
    demands = {name: value for name, value in rule.values.items() if name in RESOURCES}
    readings = []
    for record in _meant(rule, records):
        kernels: Sequence[Mapping[str, Any]] = record["candidate"]["resources"]
        for name, most in demands.items():
            known = [kernel[name] for kernel in kernels if name in kernel]
            holds = bool(known) and max(known) <= most
            readings.append(_reading(record, holds, f"{name} {max(known) if known else 'not known'}"))
    shown = ", ".join(f"{name} at most {most}" for name, most in demands.items())
    return _finding(rule, shown, readings)


def _gates(rule: Rule, records: Sequence[Record]) -> Finding:
    least, passing = rule.values["at_least"], rule.values["passing"]
    readings, count = [], 0
    for record in records:
        judged = [*record["gates"], *record.get("limits", ())]
        count += len(judged)
        # Where there is no old build to race, the test passes with a warning.
        passes = VERDICTS[record["verdict"]].passes or ("against" in record and record["verdict"] == "NOT MEASURED")
        readings.append(_reading(record, passes, f"{text.counted(len(judged), 'gate')}, {record['verdict']}"))
    holds = count >= least and (not passing or all(one.holds for one in readings))
    demanded = f"at least {text.counted(least, 'gate')}{', and all pass' if passing else ''}; there are {count}"
    return Finding(rule.kind, rule.line, demanded, holds, readings)


def _checks(rule: Rule, records: Sequence[Record]) -> Finding:
    readings, demands, records = [], [], _meant(rule, records)
    if rule.values["weak"] is False:
        demands.append("no weak check")
        for record in records:
            check = record["correctness"]
            checked = check is not None and check["verdict"] == "PASS" and record["verdict"] != "WEAK"
            said = f"the check is {check['verdict']}" if check is not None else "no check"
            readings.append(_reading(record, checked, said))
    if rule.values["sanitizer"]:
        demands.append("clean under compute-sanitizer")
        for record in records:
            found = record.get("sanitizer")
            readings.append(
                _reading(
                    record,
                    found is not None and found["verdict"] == "PASS",
                    f"sanitizer {found['verdict']}" if found else "not run: a sanitize marker does",
                )
            )
    return _finding(rule, " and ".join(demands), readings)


def _reading(record: Record, holds: bool, said: str) -> Reading:
    problem = record["problem"]["name"]
    return Reading(problem, f"{record['candidate']['name']} on {problem}", holds, said)


RESOURCES = ("registers", "shared_bytes", "stack_bytes", "spill_bytes")
"""Of each kernel, as ptxas tells them."""

JUDGES: Mapping[str, Callable[[Rule, Sequence[Record]], Finding]] = MappingProxyType(
    {
        "speedup": _speedup,
        "counter": _counter,
        "resources": _resources,
        "gates": _gates,
        "checks": _checks,
        "expected": lambda rule, records: presence.expected(rule.line, rule.values, records),
        "age": lambda rule, records: presence.age(rule.line, rule.values, records),
    }
)
"""What judges a rule, by its name in the file."""

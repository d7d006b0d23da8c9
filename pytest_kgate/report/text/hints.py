"""Hints for a gate that did not pass: likely causes and what to try next, from its record. A hint can be wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.rows import number
from pytest_kgate.report.text.wrong_answer import wrong_answer
from pytest_kgate.statistics.gate_facts import FEWEST_TO_FORESEE
from pytest_kgate.statistics.gate_facts import LOOKS

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import SelftestFacts
    from pytest_kgate.report.record.facts.timing import TimingFacts
    from pytest_kgate.report.record.record import Record


def hints(record: Record) -> list[str]:
    """One sentence a hint, the likeliest cause first; none for a record that passed, or whose reason says enough."""
    if "selftest" in record:
        return _weak(record["selftest"])
    if record["verdict"] == "WRONG":
        return wrong_answer(record, record["correctness"])
    if record["verdict"] == "INVALID":
        return _invalid(record["reason"], record.get("environment", {}).get("device") == "host")
    verdicts = {gate["verdict"] for gate in record["gates"]}
    found = _far_away(record) if verdicts & {"FAIL", "INCONCLUSIVE"} else []
    if "FAIL" in verdicts:
        found += _slow(record)
    if "INCONCLUSIVE" in verdicts:
        found += _undecided(record)
    return found + _too_much(record)


_COARSE = ("output in ", "inputs in ", "weights and values in ", "sums in ")
"""How the names of those mutants begin whose only fault is to compute in a coarser type."""


def _weak(selftest: SelftestFacts) -> list[str]:
    lived = selftest["lived"]
    found = []
    if "a remembered answer" in lived:
        found.append("An answer to other inputs passes: draw inputs whose answers differ from draw to draw.")
    if any(name.startswith(_COARSE) for name in lived):
        found.append(
            "Arithmetic in a coarser type passes: is `factor` of the allclose marker raised, or the reference coarse?"
        )
    if lived and len(found) == 0:
        found.append(
            "Add `hard_inputs` on which these mistakes show, or lower the tolerance: without an allclose marker it "
            "follows from the reference's own error."
        )
    return found


_CAUSES = {
    "left something changed": "Set it before kbench is called, so that it holds for both, or put it back within each "
    "call.",
    "by the open mode": "An open mode is asked for each operator, of both arms: let the candidate close what it opens, "
    "and close the test's own before kbench is called.",
    "had the GPU open": "`nvidia-smi` lists the processes: end the others, or take another GPU by --kgate-device.",
    "throttle": "Let the GPU cool, or lock its clocks low enough to hold: `nvidia-smi --lock-gpu-clocks`.",
    "the SM clock stepped": "Lock the GPU's clocks: `nvidia-smi --lock-gpu-clocks`.",
    "other work took": "End what else runs on the CPU; --kgate-foreign-load warn accepts it.",
    "starved": "The host has no CPU core to spare: end what else runs, or use fewer pytest-xdist workers.",
}
"""Hints by a part of the reason that `integrity/checks` or `bench/race/evidence/disturbances.py` gives. A candidate
does it every time, or both races of the call were disturbed, so to run the test again is no hint."""


def _invalid(reason: str, on_host: bool) -> list[str]:
    if "the call is made on" in reason:
        return [
            "Launch on the stream that is current at the call: torch.cuda.current_stream().cuda_stream, or the "
            "`stream` that a kernel file is handed, as in <<<grid, block, 0, stream>>>. Where the work forks to other "
            "streams, let them wait for it, and it for them (wait_stream)."
        ]
    if "in a call alone" in reason:
        found = [
            "It was right on all draws of the check, which had no such values: give `hard_inputs` that have more of "
            "them, so that the check shows it."
        ]
        if "integers off by" in reason:
            found.append(
                "The output is of integers. If several answers are right, as with an argmax among equals, say which: "
                "Problem(equal=pytest_kgate.equal.ties())."
            )
        return found
    if "timed launch" in reason:
        missing = "" if on_host else "a missing __syncthreads or wait, for "
        behind = "threads that go on behind the call" if on_host else "a second stream"
        return [
            f"The answer changes from launch to launch: look for {missing}state that is kept between calls, and for "
            f"{behind}."
        ]
    if "not positive" in reason or "overhead" in reason:
        return ["The kernel is too short to be timed alone: gate a larger shape, or a batch of calls."]
    for sign, hint in _CAUSES.items():
        if sign in reason:
            return [hint]
    return ["Nothing is proven either way; run it again when the cause is gone."]


_LESS = {
    "registers": "Fewer values alive at a time take fewer registers: smaller tiles{chosen}, or more warps for a tile.",
    "spills": "More registers a thread (fewer threads in `__launch_bounds__`) or smaller tiles{chosen} end spills.",
    "local_bytes": "Local memory holds spills, and arrays with an index that the compiler does not know: unroll loops.",
    "shared_kib": "Smaller tiles or fewer stages{chosen} take less shared memory.",
    "blocks_per_sm": "Registers, shared memory and threads of a block bound how many an SM holds: smaller "
    "tiles{chosen} take less of each.",
}
"""What makes a kernel take less, by the limit that it breaks."""


def _too_much(record: Record) -> list[str]:
    broken = [limit["name"] for limit in record.get("limits", ()) if limit["verdict"] == "FAIL"]
    return [_LESS[name].format(chosen=_chosen(record)) for name in broken if name in _LESS]


def _chosen(record: Record) -> str:
    knobs = record["candidate"].get("knobs")
    return f" (chosen: {', '.join(f'{name}={value}' for name, value in knobs.items())})" if knobs else ""


def _far_away(record: Record) -> list[str]:
    """A hint where the candidate's latency holds the way to its process, which neither rounds nor bounds make shorter.

    It does where that process makes the timed calls, in rows that this one times: always on the host.
    """
    isolation = record.get("isolation")
    if not isolation or isolation["launched_by"] != "candidate":
        return []
    return [
        "The way to the isolated candidate's process is part of its latency, and not of the reference's: time a "
        "larger problem, or many calls in one, or judge speed without --kgate-isolate."
    ]


def _slow(record: Record) -> list[str]:
    found = []
    spilled = [entry for entry in record["candidate"].get("resources", ()) if entry.get("spill_bytes")]
    if spilled:
        most = max(spilled, key=lambda entry: entry["spill_bytes"])
        found.append(
            f"ptxas spills {most['spill_bytes']} bytes of registers in {most['kernel']}: smaller tiles"
            f"{_chosen(record)}, or more warps for the same tile."
        )
    implementation = record["candidate"].get("implementation")
    if implementation:
        found.append(f"`kgate impls` lists the knobs of {implementation}; other tiles may suit this shape.")
    found += _other_references(record)
    if "PASS" in {gate["verdict"] for gate in record["gates"]}:
        found.append("Another gate of the same race passed: compare the quantiles, the tail may be what is slow.")
    if "counters" not in record and "gpu" in record.get("environment", {}):
        found.append("With --kgate-profile the failure says what bounds it, by hardware counters.")
    return [*found, *_bounds_that_hold(record)]


_WIDE = 1.5
"""Ends of an interval, one over the other, from which a bound that holds would be far from the ratio."""


def _bounds_that_hold(record: Record) -> list[str]:
    """What to demand in place of the bounds that were missed, so that the gates keep what there is."""
    markers, highest, too_wide = [], 0.0, []
    for gate in record["gates"]:
        ratio = gate["ratio"]
        if gate["verdict"] != "FAIL" or ratio is None or gate.get("rule") == "classic":
            continue
        low, high = number(ratio["low"]), number(ratio["high"])
        if high > _WIDE * low:
            too_wide.append(gate["rounds"])
            continue
        # Half an interval above this one's end: the ratio of another race lies elsewhere in it, and its end higher.
        bound = math.ceil(100 * high * math.sqrt(high / low)) / 100
        highest = max(highest, high)
        if "against" in record:
            markers += [f"regression(margin={bound - 1:.2g})"] if 1 < bound < 2 else []
            continue
        quantile = "" if gate["quantile"] == 0.5 else f", quantile={gate['quantile']:g}"
        # A verb for published problems has no marker that its user could change.
        of_verb = record.get("asked", {}).get("command", [])[:1] == ["kgate"]
        markers.append(f"--bound {text.bound(bound)}" if of_verb else f"speedup({text.bound(bound)}{quantile})")
    if too_wide:
        quieter = "Its interval is too wide to name a bound that would hold: a quieter machine"
        if min(too_wide) >= LOOKS[-1]:
            return [f"{quieter} tells more of the ratio."]
        more = f"--kgate-rounds {LOOKS[-1]}, which measures and judges nothing, tells more of the ratio."
        return [f"{quieter}, or {more}"]
    if not markers:
        return []
    faster = "It is faster than the reference, by less than is demanded. " if highest < 1 else ""
    holds = "would hold today, as a guard while you tune: another race's interval may end higher."
    return [f"{faster}{' and '.join(markers)} {holds}"]


def _other_references(record: Record) -> list[str]:
    """Those that the candidate would have beaten, where the gate on its middle latency was missed."""
    reference, timing = record["reference"], record["timing"]
    bounds = [gate["bound"] for gate in record["gates"] if gate["quantile"] == 0.5 and gate["verdict"] == "FAIL"]
    if not timing or not reference or not bounds:
        return []
    candidate = number(timing["candidate"]["median_seconds"])
    beaten = [
        f"{name} ({text.seconds(number(seconds))})"
        for name, seconds in reference["choices"].items()
        if name != reference["backend"] and candidate < min(bounds) * number(seconds)
    ]
    if not beaten:
        return []
    by = "sdpa_oracle(shape, backend=...)" if record["problem"]["shape"] else "Problem(reference=...)"
    return [f"The fastest reference was raced; the candidate beats {' and '.join(beaten)}, which {by} can name."]


def _undecided(record: Record) -> list[str]:
    found = []
    timing = record.get("timing")
    needed = [gate.get("rounds_to_decide") for gate in record["gates"] if gate["verdict"] == "INCONCLUSIVE"]
    rounds = max((one for one in needed if one), default=None)
    if rounds and timing and timing["rounds"]:
        budget = text.significant(_budget_for(rounds, timing), 2)
        told = timing["rounds"] >= FEWEST_TO_FORESEE
        what = (
            "which would likely decide it" if told else "the fewest that decide one: so far too little is known of it"
        )
        found.append(f"--kgate-budget {budget} gives the race {rounds} rounds, {what}.")
    elif rounds:
        found.append("Raise --kgate-budget: it did not last for a single round.")
    found.append("--kgate-inconclusive warn (or skip) accepts a gate that could not be decided.")
    return found


_MARGIN = 1.2
"""Of an advised budget: a round's cost varies."""

_FEW_ROUNDS = 3
_MARGIN_OF_FEW = 2.0
"""The margin where fewer rounds than that have been taken: one or two don't tell how a round's cost varies, nor what
the one of four rounds takes that holds probes."""


def _budget_for(rounds: int, timing: TimingFacts) -> float:
    """Seconds in which so many rounds fit, by what the rounds so far took.

    A race takes more samples a round, up to a limit, where its budget has room for them in the most rounds there are.
    """
    from pytest_kgate.statistics.group_sequential import SAMPLES

    taken = timing["samples_per_round"]
    sample = timing["seconds_spent"] / timing["rounds"] / taken
    margin = _MARGIN if timing["rounds"] >= _FEW_ROUNDS else _MARGIN_OF_FEW
    samples = taken
    while samples < SAMPLES and margin * rounds * samples >= LOOKS[-1] * (samples + 1):
        samples += 1
    return margin * rounds * samples * sample

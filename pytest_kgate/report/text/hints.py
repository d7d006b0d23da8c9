"""What a user may try next, from what one record says. A hint names likely causes; it can be wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.rows import number

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
    from pytest_kgate.report.record.facts.correctness import SelftestFacts
    from pytest_kgate.report.record.facts.correctness import WorstFacts
    from pytest_kgate.report.record.record import ProblemFacts
    from pytest_kgate.report.record.record import Record

_LAST_ROWS = 128
"""Rows from the end that a tail tile may cover: no tile of an attention kernel is higher."""

_TIGHT = 4.0
"""Error of the candidate over that of the reference up to which the tolerance, not the kernel, is likely at fault."""


def hints(record: Record) -> list[str]:
    """Sentences, the likeliest cause first; none for a record that passed, or whose reason needs no more words."""
    if "selftest" in record:
        return _weak(record["selftest"])
    if record["verdict"] == "WRONG":
        return _wrong(record, record["correctness"])
    if record["verdict"] == "INVALID":
        return _invalid(record["reason"])
    verdicts = {gate["verdict"] for gate in record["gates"]}
    found = []
    if "FAIL" in verdicts:
        found += _slow(record)
    if "INCONCLUSIVE" in verdicts:
        found += _undecided(record)
    return found


_COARSE = ("output in ", "inputs in ", "weights and values in ", "sums in ")
"""How the mutants that only round too much are named."""


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


_SHRINK = "Shrink the shape to one tile and look again: the index of the worst element then points into the kernel."


def _wrong(record: Record, correctness: CorrectnessFacts | None) -> list[str]:
    worst = correctness.get("worst") if correctness else None
    if worst and not math.isfinite(number(worst["candidate"])):
        return _not_finite(worst.get("not_finite_fraction", 1.0))
    found = _ignored(record)
    if found:
        return found
    if correctness is None:
        return [_SHRINK]
    if correctness.get("failed") == "rms":
        return [
            "Near the answer, but further off than its type explains: inputs, weights or sums may be kept in too few "
            "bits; accumulate in float32. allclose(..., factor=N) allows N times the reference's error."
        ]
    error, reference = number(correctness["candidate_error"]), number(correctness["reference_error"])
    if error <= _TIGHT * reference and correctness.get("failed") != "rows":
        found.append(
            f"The reference itself is off by {text.error(reference)}: an error of {text.error(error)} may be all that "
            f"this dtype allows; then raise allclose({correctness['atol']:g})."
        )
        return found
    if _only_hard(correctness):
        found.append(
            "Right on normal inputs, wrong on sharp logits: check that the running maximum is subtracted before exp, "
            "that the accumulator is rescaled whenever the maximum changes, and the scale 1/sqrt(head_dim)."
        )
    if worst:
        found += _place(record["problem"], worst)
    if worst and number(worst["candidate"]) == 0:
        found.append("The kernel wrote 0 there: look for an accumulator that is stored before it is filled.")
    elif worst and worst.get("wrong_fraction", 0.0) > 0.5:
        found.append(
            "Most elements are wrong: check strides and layout, the scale, and that every tile of K and V takes part."
        )
    return found or [_SHRINK]


def _ignored(record: Record) -> list[str]:
    """Params that the candidate never got, unless their value says to do nothing: `is_causal=False`."""
    params = record["problem"]["params"]
    lacking = {
        name: params[name]
        for name in record["candidate"].get("ignored_params", ())
        if params.get(name) not in (None, False)
    }
    return [
        f"The candidate has no parameter `{name}`, so it was called without {name}={value!r}: add it to the signature."
        for name, value in lacking.items()
    ]


def _not_finite(share: float) -> list[str]:
    """What it suggests that this share of the elements is NaN or Inf."""
    if share >= 1:
        return [
            "Every element is NaN or Inf. Outputs are filled with NaN before the call, so the likeliest cause is an "
            "output that is never written: check that the launch happens, and that it writes to `out`."
        ]
    return [
        f"{text.percent(share)} of the elements are NaN or Inf. Outputs are filled with NaN before the call: check the "
        "grid and the tail for elements that are never written.",
        "If all are written: subtract the row's maximum before exp, and mind rows whose keys are all masked "
        "(-inf minus -inf, division by 0).",
    ]


def _only_hard(correctness: CorrectnessFacts) -> bool:
    """Whether the candidate is right on all normal inputs, and wrong on hard ones."""
    wrong: dict[str, bool] = {}
    for draw in correctness["draws"]:
        is_wrong = number(draw["excess"]) > 0
        wrong[draw["kind"]] = wrong.get(draw["kind"], False) or is_wrong
    return wrong.get("hard", False) and not wrong.get("normal", True)


def _place(problem: ProblemFacts, worst: WorstFacts) -> list[str]:
    """What the place of the worst element suggests, for attention."""
    shape, index = problem["shape"], worst["index"]
    if not shape or len(index) != 4:
        return []
    found = []
    row, rows = index[2], shape[2]
    few = worst.get("wrong_fraction", 0.0) < 0.5
    if few and row >= rows - min(_LAST_ROWS, rows // 4):
        found.append(
            f"The worst element is in row {row} of {rows}, near the end: check the tail, where a tile reaches beyond "
            "the last row or key."
        )
    if problem["causal"]:
        found.append(
            "The problem is causal: key j takes part in row i only if j <= i; check the tiles that the diagonal "
            "crosses. If the same shape passes without the mask, the mask is at fault."
        )
    return found


_DISTURBED = {
    "had the GPU open": "`nvidia-smi` lists the processes: end the others, or take another GPU by --kgate-device.",
    "throttle": "Let the GPU cool, or lock its clocks low enough to hold: `nvidia-smi --lock-gpu-clocks`.",
    "the SM clock stepped": "Lock the GPU's clocks: `nvidia-smi --lock-gpu-clocks`.",
    "starved": "The host has no CPU core to spare: end what else runs, or use fewer pytest-xdist workers.",
}
"""By a part of the reason that `evidence.py` gives: both of its races were disturbed, and so may a third be."""


def _invalid(reason: str) -> list[str]:
    if "timed launch" in reason:
        return [
            "The answer changes from launch to launch: look for a missing __syncthreads or wait, for state that is "
            "kept between calls, and for a second stream."
        ]
    if "not positive" in reason or "overhead" in reason:
        return ["The kernel is too short to be timed alone: gate a larger shape, or a batch of calls."]
    for sign, hint in _DISTURBED.items():
        if sign in reason:
            return [hint]
    return ["Nothing is proven either way; run it again when the cause is gone."]


def _slow(record: Record) -> list[str]:
    found = []
    spilled = [entry for entry in record["candidate"].get("resources", ()) if entry.get("spill_bytes")]
    if spilled:
        most = max(spilled, key=lambda entry: entry["spill_bytes"])
        knobs = record["candidate"].get("knobs")
        chosen = f" (chosen: {', '.join(f'{name}={value}' for name, value in knobs.items())})" if knobs else ""
        found.append(
            f"ptxas spills {most['spill_bytes']} bytes of registers in {most['kernel']}: smaller tiles{chosen}, or "
            "more warps for the same tile."
        )
    found += _other_references(record)
    if "PASS" in {gate["verdict"] for gate in record["gates"]}:
        found.append("Another gate of the same race passed: compare the quantiles, the tail may be what is slow.")
    return found or [
        "`kgate show FILE TEST` repeats this from the records; the rates above say how far the reference gets."
    ]


def _other_references(record: Record) -> list[str]:
    reference, timing = record["reference"], record["timing"]
    if not timing or not reference:
        return []
    candidate = number(timing["candidate"]["median_seconds"])
    bound = min(gate["bound"] for gate in record["gates"])
    beaten = [
        f"{name} ({text.seconds(number(seconds))})"
        for name, seconds in reference["choices"].items()
        if name != reference["backend"] and candidate < bound * number(seconds)
    ]
    if not beaten:
        return []
    names = " and ".join(beaten)
    return [f"The fastest reference was raced; the candidate beats {names}, which --kgate-sdpa-backend can name."]


def _undecided(record: Record) -> list[str]:
    from pytest_kgate.statistics.group_sequential import LOOKS

    found = []
    timing, most = record.get("timing"), LOOKS[-1]
    # Whether it does, `judge_rounds` has found out.
    helps = any("raise the budget" in gate["reason"] for gate in record["gates"])
    if helps and timing and timing["rounds"]:
        needed = timing["seconds_spent"] / timing["rounds"] * most * 1.2  # a round's cost varies
        found.append(f"--kgate-budget {text.significant(needed, 2)} lets the race take all {most} rounds.")
    elif helps:
        found.append("Raise --kgate-budget: it did not last for a single round.")
    found.append("--kgate-inconclusive warn (or skip) accepts a gate that could not be decided.")
    return found

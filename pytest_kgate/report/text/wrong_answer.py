"""Hints from a wrong answer: from the place of its worst element, the draws on which it is wrong, and by how much."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_kgate.report import format as text
from pytest_kgate.report.rows import number
from pytest_kgate.report.rows import size

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.correctness import CorrectnessFacts
    from pytest_kgate.report.record.facts.correctness import WorstFacts
    from pytest_kgate.report.record.record import ProblemFacts
    from pytest_kgate.report.record.record import Record

_LAST_ROWS = 128
"""Rows from the end that a tail tile may cover: no tile of an attention kernel is higher."""

_TIGHT = 4.0
"""Error of the candidate over that of the reference up to which the tolerance, not the kernel, is likely at fault."""

_NEAR = 0.01
"""Error over the rms of the answer, below which no element can be another's. Half precision makes 5e-4 of one."""

_FAR = 0.01
"""Rms error over the rms of the answer, from which rounding no longer explains it: rounding values to bfloat16 makes
2e-3 of one. Sums of thousands of terms in 16 bits come to more, and values in 8 bits: the hint names these last."""

_NAMED = 6
"""Weights of a module in a hint; a deep net has hundreds."""

_SHRINK = "Shrink the problem to one tile and look again: the index of the worst element then points into the kernel."


def wrong_answer(record: Record, correctness: CorrectnessFacts | None) -> list[str]:
    """One sentence a hint, the likeliest cause first; hints on attention only where the problem is attention."""
    attention = record["problem"]["shape"] is not None
    worst = correctness.get("worst") if correctness else None
    varies = _varying(number(worst.get("varying_fraction", 0.0))) if worst else []
    if worst and not math.isfinite(size(worst["candidate"])):
        takes_out = record["candidate"].get("takes_out")
        return varies + _not_finite(worst.get("not_finite_fraction", 1.0), attention, takes_out)
    found = _ignored(record) + _not_copied(record) + _of_module(record) or varies
    if found:
        return found
    if correctness is None:
        return [_SHRINK]
    if correctness.get("failed") == "equal":
        return [_SHRINK]
    far = correctness.get("failed") == "rms" and _is_far(correctness)
    if correctness.get("failed") == "rms" and not far:
        return [
            "Near the answer, but further off than its type explains: inputs, intermediate results or sums may be kept "
            "in too few bits; accumulate in float32. allclose(..., factor=N) allows N times the reference's error."
        ]
    if correctness.get("failed") == "bits":
        return [
            "Near the answer, but all its values end in zero bits: look for the last cast to a coarser type, and leave "
            "it out. allclose(..., factor=N) says that few bits are meant."
        ]
    if correctness.get("failed") == "slices":
        return [
            "Beside TF32 this channel, column or row alone is off: look for what is special to it, such as a weight, a "
            "bias or the edge of a tile. allclose(..., factor=N) leaves it to the tolerance and the whole."
        ]
    error, reference = number(correctness["candidate_error"]), number(correctness["reference_error"])
    if error <= _TIGHT * reference and correctness.get("failed") not in ("rms", "rows"):
        found.append(
            f"The reference itself is off by {text.error(reference)}: an error of {text.error(error)} may be all that "
            f"this dtype allows; then raise {_tolerance(correctness)}."
        )
        return found
    if _only_hard(correctness):
        found.append(
            "Right on normal inputs, wrong on sharp logits: check that the running maximum is subtracted before exp, "
            "that the accumulator is rescaled whenever the maximum changes, and the scale 1/sqrt(head_dim)."
            if attention
            else "Right on normal inputs, wrong on the problem's `hard_inputs`: look for intermediate results that "
            "overflow there, or lose their small terms."
        )
    if worst:
        few = not far and number(worst.get("wrong_fraction", 0.0)) < 0.5
        found += _place(record["problem"], worst, few=few)
    if worst and worst.get("may_be_indices"):
        found.append(
            "The output can be indices. If several answers are right, as with an argmax among equals, say which: "
            "Problem(equal=pytest_kgate.equal.ties())."
        )
    if worst and attention and worst.get("output") == "output 1":
        found.append(
            "It is the log-sum-exp: the natural logarithm of the sum of exp(scores), in float32, of scaled, capped and "
            "biased scores; -inf where a row sees no key."
        )
    elif worst and size(worst["candidate"]) == 0:
        found.append("The kernel wrote 0 there: look for an accumulator that is stored before it is filled.")
    elif not attention and not found and _is_near(correctness):
        found.append(
            "Near the answer everywhere, but not as near as allowed: look for arithmetic in too few bits, an "
            "approximation, another constant such as an epsilon, or few terms of a long sum that are left out. Where "
            "that is meant, allclose(atol, factor=N) says how far off it may be."
        )
    elif far or (worst and number(worst.get("wrong_fraction", 0.0)) > 0.5):
        found.append(
            f"{'The answer is far off as a whole' if far else 'Most elements are wrong'}: check strides and layout, "
            + (
                "the scale, and that every tile of K and V takes part."
                if attention
                else "and that every part of the inputs takes part."
            )
        )
    if far:
        found.append("If that is right, look for long sums in 16 bits, and values in 8: other arithmetic is nearer.")
    return found or [_SHRINK]


def _ignored(record: Record) -> list[str]:
    """A hint on each param that the candidate does not take, unless its value asks for nothing (`is_causal=False`)."""
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


def _not_copied(record: Record) -> list[str]:
    """A hint where a solution of KernelBench has other weights than the model: its answer can only be another."""
    weights = record["candidate"].get("weights", "")
    if "from seed" not in weights:
        return []
    return [
        f"Its weights are not the model's: {weights}. Name parameters and buffers as Model does, with the same shapes, "
        "so that they are copied."
    ]


def _of_module(record: Record) -> list[str]:
    """Hints where a module has other weights than the reference, or is in training mode."""
    weights, training = record["candidate"].get("other_weights", []), record["candidate"].get("training", [])
    found = []
    if weights:
        shown = ", ".join(weights[:_NAMED]) + (f" and {len(weights) - _NAMED} more" if len(weights) > _NAMED else "")
        found.append(
            f"Its weights are not the reference's; these have other values: {shown}. Give it the same: "
            "`candidate.load_state_dict(reference.state_dict())`."
        )
    if training:
        found.append(f"It is in training mode, in which {' and '.join(training)} does something else: call its eval().")
    return found


def _varying(share: float) -> list[str]:
    """A hint where a second call on the same inputs gave another answer: nothing else is worth looking at before."""
    if not share:
        return []
    return [
        f"Two calls on the same inputs differ in {text.percent(share)} of the elements: look for a race (a missing "
        "__syncthreads, a write by two threads, memory that is read before it is written), for dropout and other "
        "random numbers, or for what is kept by the address or the id of an input: another may lie there later."
    ]


def _not_finite(share: float, attention: bool, takes_out: bool | None) -> list[str]:
    """Hints from the share of the answer's elements that are NaN or Inf; `takes_out` is None where it is not known."""
    computed = (
        "subtract the row's maximum before exp, and mind rows whose keys are all masked (-inf minus -inf, division by "
        "0)."
        if attention
        else "look for a division by 0, an overflow, and an infinity less an infinity."
    )
    found = "Every element is" if share >= 1 else f"{text.percent(share)} of the elements are"
    if takes_out is False:
        return [f"{found} NaN or Inf: {computed}"]
    filled = "`out` is filled" if takes_out else "An `out` that a candidate takes is filled"
    unwritten = (
        "the likeliest cause is an output that is never written: check that the launch happens, and that it writes "
        "there."
        if share >= 1
        else "check the grid and the tail for elements that are never written."
    )
    return [
        f"{found} NaN or Inf. {filled} with NaN before the call: {unwritten}",
        f"If all are written: {computed}",
    ]


def _tolerance(correctness: CorrectnessFacts) -> str:
    """What sets it, as a user writes that."""
    atol = f"{number(correctness['atol']):g}"
    return f"Problem(tolerance=...), {atol}" if correctness.get("problem_tolerance") else f"allclose({atol})"


def _is_near(correctness: CorrectnessFacts) -> bool:
    """Whether no element is off by more than a small part of the answers' size: strides and layout are then right."""
    sizes = [number(draw["output_rms"]) for draw in correctness["draws"] if number(draw["excess"]) > 0]
    return bool(sizes) and number(correctness["candidate_error"]) < _NEAR * min(sizes)


def _is_far(correctness: CorrectnessFacts) -> bool:
    """Whether the answer to a draw is further off as a whole than rounding explains, and than the reference's is."""
    return any(
        number(draw["candidate_rms_error"])
        > max(_FAR * number(draw["output_rms"]), _TIGHT * number(draw["reference_rms_error"]))
        for draw in correctness["draws"]
        if "candidate_rms_error" in draw and "reference_rms_error" in draw
    )


def _only_hard(correctness: CorrectnessFacts) -> bool:
    """Whether the candidate is right on all normal inputs, and wrong on hard ones."""
    wrong: dict[str, bool] = {}
    for draw in correctness["draws"]:
        is_wrong = number(draw["excess"]) > 0
        wrong[draw["kind"]] = wrong.get(draw["kind"], False) or is_wrong
    return wrong.get("hard", False) and not wrong.get("normal", True)


def _place(problem: ProblemFacts, worst: WorstFacts, *, few: bool) -> list[str]:
    """A hint from the place of the worst element, for attention: the rows' tail if `few` are wrong, the causal mask."""
    shape, index = problem["shape"], worst["index"]
    if not shape or len(index) != 4:
        return []
    found = []
    row, rows = index[2], shape[2]
    if few and row >= rows - min(_LAST_ROWS, rows // 4):
        found.append(
            f"The worst element is in row {row} of {rows}, near the end: check the tail, where a tile reaches beyond "
            "the last row or key."
        )
    if problem["causal"]:
        found.append(
            "The problem is causal: key j takes part in row i only if j <= i + keys - rows; check the tiles that the "
            "diagonal crosses. If the same shape passes without the mask, the mask is at fault."
        )
    return found

"""Calls of a problem's own functions: its inputs, its exact answer and its reference, and who is blamed for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator
from torch import Tensor

from pytest_kgate.bench.correctness.comparison.outputs import Equal
from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
from pytest_kgate.bench.correctness.comparison.outputs import tensors_by_name
from pytest_kgate.bench.correctness.comparison.slabs import slabs
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.exact.alike import demand_drawn_alike
from pytest_kgate.bench.correctness.exact.alike import demand_plain_tensors
from pytest_kgate.bench.correctness.exact.alike import demand_same_kind
from pytest_kgate.bench.correctness.exact.alike import outline_of
from pytest_kgate.bench.correctness.exact.alike import remember_drawn
from pytest_kgate.bench.correctness.exact.answer import demand_tensors
from pytest_kgate.bench.correctness.exact.answer import exact_answer
from pytest_kgate.bench.correctness.exact.answer import exact_by_rows
from pytest_kgate.bench.correctness.exact.answer import in_smaller_type
from pytest_kgate.bench.correctness.exact.own_memory import with_own_memory
from pytest_kgate.bench.correctness.exact.trusted import demand_fine
from pytest_kgate.device.answer import outputs_of
from pytest_kgate.device.answer import poison
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.arm import InPlace
from pytest_kgate.device.arm import blame_problem
from pytest_kgate.device.protocol import Device
from pytest_kgate.device.protocol import Workload
from pytest_kgate.device.rows import first_changed
from pytest_kgate.device.rows import remembered
from pytest_kgate.errors import ProblemError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.problems.rounding.tolerances import demand_known
from pytest_kgate.problems.trees import tree
from pytest_kgate.problems.trees.arguments import as_arguments
from pytest_kgate.problems.trees.fingerprint import Fingerprint
from pytest_kgate.system.clocks.spent import spent

_VARIES = 0.01
"""Of an output's rms: two answers of one function to the same inputs that are further apart were not meant alike. The
order of sums makes less of a difference."""

_SEED = 0
"""No secret: no candidate sees the values that it draws."""


def workload_of(problem: Problem, device: Device, like: Any = None, *, hard: bool = False) -> Workload:
    """Fresh inputs by seed and poisoned outputs on the device; `like` is an answer of the reference.

    Without `like`, only inputs can be had.
    """
    draw_from: Callable[[Generator], Any] = (
        problem.hard_inputs if hard and problem.hard_inputs is not None else problem.inputs
    )

    def draw(seed: int) -> tuple[Any, ...]:
        generator = Generator(device=device.torch_device)
        generator.manual_seed(seed)
        with spent("draw"), blame_problem("The problem's inputs", "it is called as inputs(generator)"):
            drawn = draw_from(generator)
        inputs = as_arguments(drawn)
        demand_plain_tensors(inputs, problem.mutates)
        if any(place not in range(len(inputs)) for place in problem.mutates):
            raise UsageError(
                f"Problem(mutates={problem.mutates}) names an input that there is not: there are {len(inputs)}.",
                "Give the positions of the inputs that a call changes, from 0.",
            )
        demand_drawn_alike(problem.name, inputs, like, hard=hard)
        return with_own_memory(inputs, problem.mutates) if problem.mutates else inputs

    def make_output(inputs: tuple[Any, ...]) -> Any:
        shaped = next(tree.tensors(inputs)) if like is None else like
        return new_output(shaped.returned if isinstance(shaped, InPlace) else shaped)

    return Workload(draw, make_output, problem.mutates, (lambda inputs: new_output(like)) if problem.mutates else None)


def new_output(like: Any) -> Any:
    """Dense memory for tensors like these, filled with NaN."""
    return poison(tree.mapped(like, lambda one: torch.empty_like(one, memory_format=torch.contiguous_format)))


def demand_repeatable(problem: Problem, device: Device) -> None:
    """Draw one seed twice; raises `UsageError` where the two differ, or no tensor is on the device.

    A timed launch is verified later against inputs that are drawn anew, so that others would make it look wrong.
    """
    draw = workload_of(problem, device).draw
    with device.running("drawing the inputs"):
        once = draw(_SEED)
        found = list(tree.tensors(once))
        here = torch.device(device.torch_device)
        if found and all(tensor.device != here for tensor in found):
            raise UsageError(
                f"The inputs of {problem.name} are on {found[0].device}, and the race is on {here}.",
                "Draw them where the generator is: torch.randn(..., generator=g, device=g.device).",
            )
        outline, before = outline_of(once), remembered(once)
        del once, found
        again = draw(_SEED)
        if not tree.same(outline, outline_of(again)) or first_changed(again, before) is not None:
            raise UsageError(
                f"The inputs of {problem.name} do not repeat: one seed drew other values the second time.",
                "Draw all of them from the generator that `inputs` is called with: "
                "torch.randn(..., generator=g, device=g.device).",
            )


def truth_of(
    problem: Problem, reference: Arm, inputs: tuple[Any, ...], like: Any, *, at_once: bool = False
) -> ExactOutputs:
    """The exact answer to these inputs, with the reference's error against it.

    A large one of a single output is made in pieces where a trial shows that this can be done, unless `at_once`. Where
    calls change inputs, the reference works on copies of them.
    """
    exact = None if at_once or not isinstance(like, Tensor) else exact_by_rows(problem, inputs, like)
    in_pieces = exact is not None
    exact = exact_answer(problem, inputs, like) if exact is None else exact
    found = tensors_by_name(exact, like)
    if found is None:
        raise UsageError(
            "The problem's exact returned {}, its reference {}.".format(
                *(", ".join(outputs_of(one)) or "no output" for one in (exact, like))
            ),
            "Both must compute the same thing: `exact` returns what the reference returns, and then the new values of "
            "the inputs in `mutates`. One of these that the reference returns as well counts once.",
        )
    for name, wanted in outputs_of(like).items():
        own = "" if name == "output" else f" as {name}"
        if found[name].shape != wanted.shape:
            raise UsageError(
                f"The problem's exact returned shape {tuple(found[name].shape)}{own}, its reference "
                f"{tuple(wanted.shape)}.",
                "Both must compute the same thing.",
            )
        if any(bool(_readable(found[name][slab.index]).isnan().any()) for slab in slabs(wanted.shape, wanted.device)):
            raise UsageError(
                f"The problem's exact answer holds NaN{own}, with which no answer can be compared.",
                "Draw inputs to which there is an answer.",
            )
    whole = exact if problem.equal is not None else None
    del exact
    answer = _with_room(lambda: reference_answer(problem, reference, inputs, like), found, like)
    outputs = outputs_of(answer)
    answers = {name: ExactAnswer(one, outputs[name], in_pieces=in_pieces) for name, one in found.items() if one.numel()}
    if problem.equal is None:
        for name, one in answers.items():
            demand_fine(name, one)
    return ExactOutputs(
        answers,
        answer,
        problem.tolerance,
        None if problem.equal is None else Equal(problem.equal, whole, inputs),
    )


def answers_vary(problem: Problem, reference: Arm, inputs: tuple[Any, ...], truth: ExactOutputs) -> bool:
    """Whether the reference answers the same inputs so differently that its answers are random."""
    again = outputs_of(reference_answer(problem, reference, inputs, truth.reference))
    for name, one in outputs_of(truth.reference).items():
        if one.numel() and not (one.is_floating_point() or one.is_complex()):
            if not torch.equal(one, again[name]):
                return True
        elif one.numel():
            apart = own = 0.0
            for slab in slabs(one.shape, one.device):
                first, second = one[slab.index].cfloat(), again[name][slab.index].cfloat()
                apart += float((first - second).abs().nan_to_num_().square().sum())
                own += float(first.abs().nan_to_num_().square().sum())
            if apart > _VARIES**2 * own:
                return True
    return False


def _with_room(call: Callable[[], Any], exact: dict[str, Tensor], like: Any) -> Any:
    """The result of a call on a device that may have no room for it beside the exact answer, which then makes room.

    It is kept in a smaller type first, if answers are of one, and in the host's memory if that is not enough.
    """
    try:
        return call()
    except torch.OutOfMemoryError:
        if all(one.device.type == "cpu" for one in exact.values()):
            raise
    wanted = outputs_of(like)
    on_host = {name: in_smaller_type(one, wanted[name].dtype) for name, one in exact.items()}
    exact.clear()  # in its own type it is freed before it comes back
    torch.cuda.empty_cache()
    try:
        exact.update({name: one.to(wanted[name].device) for name, one in on_host.items()})
        return call()
    except torch.OutOfMemoryError:
        exact.update(on_host)
    torch.cuda.empty_cache()
    return call()


def reference_answer(problem: Problem, reference: Arm, inputs: tuple[Any, ...], like: Any) -> Any:
    """The reference's answer; it may change its inputs where the problem says so, and works on copies of these.

    Raises `ProblemError` where it is of another kind than `like`.
    """
    own = tuple(tree.copy(one) if place in problem.mutates else one for place, one in enumerate(inputs))
    output = None
    if reference.takes_output:
        output = tree.mapped(like.returned if isinstance(like, InPlace) else like, torch.empty_like)
    answer = _call_reference(reference, own, output)
    demand_same_kind(answer, like)
    return tree.detached(answer)


def unchanged_truth_of(
    problem: Problem,
    reference: Arm,
    inputs: tuple[Any, ...],
    like: Any,
    before: Fingerprint,
    redraw: Callable[[], tuple[Any, ...]],
) -> ExactOutputs:
    """As `truth_of`; raises `ProblemError` where the reference or the exact answer has changed the inputs.

    `before` is of these inputs; `redraw` draws them once more, to tell which of the two has changed them.
    """
    truth = truth_of(problem, reference, inputs, like)
    position = before.first_changed(inputs)
    if position is None:
        return truth
    del truth, inputs
    again = redraw()
    drawn = Fingerprint(again)
    exact_answer(problem, again)
    whose = "reference" if drawn.first_changed(again) is None else "exact"
    raise ProblemError(
        f"The problem's {whose} changed its input {position}.",
        f"Leave the inputs as they are, or say which ones a call is to change: Problem(..., mutates=({position},)). "
        "`exact` changes none: it returns their new values.",
    )


def reference_output(device: Device, problem: Problem, reference: Arm, inputs: tuple[Any, ...] | None = None) -> Any:
    """What answers to this problem look like: uninitialised tensors, built like the reference's answer.

    It is called on `inputs`, or on some that are drawn for this. Raises `ProblemError` where the output has no
    elements.
    """
    with device.running("running the reference"):
        inputs = workload_of(problem, device).draw(_SEED) if inputs is None else inputs
        output = _shaped_for(problem, inputs) if reference.needs_output else None
        result = _call_reference(reference, inputs, output)
        device.synchronize()
    outputs = outputs_of(result)
    demand_known(problem.tolerance, outputs)
    if not any(one.numel() for one in outputs.values()):
        shapes = ", ".join(str(tuple(one.shape)) for one in outputs.values())
        raise ProblemError(
            f"The output of {problem.name} has no elements (shape {shapes}): there is nothing to compare.",
            "Draw inputs that are not empty.",
        )
    # Memory for one element each: nobody reads it.
    like = tree.mapped(result, lambda one: one.new_empty(()).expand(one.shape))
    remember_drawn(like, inputs)
    return like


def _readable(values: Tensor) -> Tensor:
    return values if values.itemsize > 1 else values.float()  # 8-bit floats know no isnan


def _shaped_for(problem: Problem, inputs: tuple[Any, ...]) -> Any:
    """An output for a reference that must be given one: as large as the exact answer, and of the first input's type."""
    exact = exact_answer(problem, inputs)
    alike = (one.dtype for one in tree.tensors(inputs) if one.is_floating_point() or one.is_complex())
    narrow = next(alike, torch.float32)

    def shaped(one: Tensor) -> Tensor:
        dtype = narrow if one.is_floating_point() or one.is_complex() else one.dtype
        if one.is_complex() and not dtype.is_complex:
            dtype = torch.complex128 if dtype is torch.float64 else torch.complex64
        return torch.empty_like(one, dtype=dtype, memory_format=torch.contiguous_format)

    return tree.mapped(exact, shaped)


def _call_reference(reference: Arm, inputs: tuple[Any, ...], output: Any) -> Any:
    convention = "it is called as reference(*inputs, **params), with `out` where it takes one"
    with spent("reference"), blame_problem("The reference", convention):
        result = reference.call(inputs, output)
    return demand_tensors("reference", result)

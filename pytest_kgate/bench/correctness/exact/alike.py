"""What a problem's functions give from call to call: inputs of one kind for every seed, answers of one kind to them.

A race writes new values to the buffers of its first draw, and a candidate is held to the shapes of one answer of the
reference. Where the problem gives now this and now that, no candidate can be right, and none is to be blamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import Parameter
from torch.utils.weak import WeakTensorKeyDictionary

from pytest_kgate.device.answer import outputs_of
from pytest_kgate.errors import ProblemError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.problems.trees import structure
from pytest_kgate.problems.trees import tree

_DRAWN: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""The outline of the inputs by the first tensor of what answers to them look like, which stands for a call."""


def outline_of(inputs: tuple[Any, ...]) -> Any:
    """The tree of inputs with the kind and shape of each tensor in its place."""
    return tree.mapped(inputs, _kind)


def remember_drawn(like: Any, inputs: tuple[Any, ...]) -> None:
    """Demand from now on that inputs drawn for answers like `like` are of the kind of these inputs."""
    _DRAWN[next(tree.tensors(like))] = _tensors_alone(inputs)


def demand_drawn_alike(name: str, inputs: tuple[Any, ...], like: Any, *, hard: bool) -> None:
    """Raise `ProblemError` where inputs differ in kind from those that `remember_drawn` has seen with `like`.

    Numbers among them may change from draw to draw, and sparse tensors have any number of elements.
    """
    known = None if like is None else _DRAWN.get(next(tree.tensors(like), None))
    if known is None or tree.same(known, found := _tensors_alone(inputs)):
        return
    what = f"The hard inputs of {name} differ from its inputs" if hard else f"The inputs of {name} differ"
    raise ProblemError(
        f"{what} in shape, dtype or number{'' if hard else ' from draw to draw'}: {_difference(known, found)}.",
        "Draw tensors of one kind for every seed: what is timed and judged is one shape. Give each shape a problem of "
        "its own.",
    )


def _tensors_alone(inputs: tuple[Any, ...]) -> Any:
    """The outline, with None in place of all that is no tensor."""
    return structure.mapped(inputs, lambda leaf: _kind(leaf) if isinstance(leaf, Tensor) else None)


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    """Type, layout and shape."""
    return (str(tensor.dtype), str(tensor.layout), *tensor.shape)


def _difference(known: tuple[Any, ...], found: tuple[Any, ...]) -> str:
    if len(known) != len(found):
        return f"there are {len(found)}, and there were {len(known)}"
    pairs = enumerate(zip(known, found, strict=True))
    position, before, now = next((at, before, now) for at, (before, now) in pairs if not tree.same(before, now))
    return f"input {position} is {_shown(now)}, and was {_shown(before)}"


def _shown(outline: Any) -> str:
    """One input in words: a lone tensor with its kind and shape, else that it holds several things."""
    if outline is None:
        return "no tensor"
    if not isinstance(outline, tuple) or not outline or not isinstance(outline[0], str):
        return f"a {type(outline).__name__} of others"
    dtype, layout, *shape = outline
    sparse = "" if layout == "torch.strided" else f" {layout.removeprefix('torch.')}"
    return f"{dtype.removeprefix('torch.')}{sparse} of shape {tuple(shape)}"


def demand_same_kind(answer: Any, like: Any) -> None:
    """Raise `ProblemError` where an answer of the reference is of another kind than its first one, which `like` is."""
    wanted, found = outputs_of(like), outputs_of(answer)
    if wanted.keys() != found.keys():
        now, before = (", ".join(one) or "no output" for one in (found, wanted))
        raise _other_kind(f"{now}, and {before} at first")
    for name, one in wanted.items():
        if found[name].shape != one.shape:
            raise _other_kind(f"{name} of shape {tuple(found[name].shape)}, and {tuple(one.shape)} at first")
        if found[name].dtype != one.dtype:
            now, before = (dtype_name(each.dtype) for each in (found[name], one))
            raise _other_kind(f"{name} of {now}, and of {before} at first")


def _other_kind(how: str) -> ProblemError:
    return ProblemError(
        f"The reference's answers change in kind from call to call: it returned {how}.",
        "Return as many tensors, of the same shapes and dtypes, at every call. Where a shape depends on values, as "
        "that of nonzero does, pad the answer to the largest.",
    )


def demand_plain_tensors(inputs: tuple[Any, ...], mutates: Sequence[int] = ()) -> None:
    """Raise `UsageError` where inputs hold what no candidate can be given, such as arrays of other libraries."""
    try:
        leaves = [(position, leaf) for position, one in enumerate(inputs) for leaf in tree.leaves(one)]
    except RecursionError:
        raise UsageError(
            "The problem's inputs hold a list or a dict that contains itself, or are nested too deep to be read.",
            "Draw tensors in a tuple, or in lists and dicts of a few levels.",
        ) from None
    for position, leaf in leaves:
        if hasattr(type(leaf), "__array__") and not isinstance(leaf, Tensor):
            is_number = isinstance(leaf, np.generic)  # which torch.from_numpy refuses
            raise UsageError(
                f"The problem's input {position} is or holds `{type(leaf).__module__}.{type(leaf).__name__}`.",
                "Draw a number of Python's own, x.item(), or torch.tensor(x)."
                if is_number
                else "Draw torch tensors: torch.from_numpy(array) makes one of an array.",
            )
        if isinstance(leaf, Tensor) and (leaf.is_nested or leaf.is_quantized):
            raise UsageError(
                f"The problem's input {position} is a {'nested' if leaf.is_nested else 'quantised'} tensor.",
                "Draw the tensors that it consists of, such as values and offsets, or integers and scales, and let "
                "the reference make it of them.",
            )
        if isinstance(leaf, Tensor) and type(leaf) not in (Tensor, Parameter):
            # It would be handed on to what is made of it, where the check takes no such answer.
            raise UsageError(
                f"The problem's input {position} is or holds a {type(leaf).__name__}, a subclass of Tensor.",
                "Draw a plain tensor, x.as_subclass(torch.Tensor), or those that it consists of, and let the reference "
                "make it of them.",
            )
        if isinstance(leaf, Tensor) and position in mutates and (leaf.is_conj() or leaf.is_neg()):
            raise UsageError(
                f"The problem's input {position}, which calls change, has a pending conjugation or negation.",
                "Draw it with its values in memory: x.resolve_conj().resolve_neg().",
            )

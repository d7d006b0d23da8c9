"""Backward passes: the gradients of a function's inputs, with the forward pass outside of what is timed."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.problems.trees.foreign import attribute

if TYPE_CHECKING:
    from torch import Generator
    from torch import Tensor


class Backward:
    """A function's backward pass, called with the function's inputs and the gradient of its output.

    It returns the gradients of all inputs that are not integers, in order: one tensor, or a tuple. `kbench` runs the
    forward pass outside of what is timed; called by anyone else, it runs both.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        """`forward` takes the problem's inputs; where it is a module, its parameters are no inputs."""
        self.forward = forward
        self.__name__ = f"{attribute(forward, '__name__', str) or type(forward).__name__} backward"
        self._prepared: dict[tuple[int, ...], tuple[Any, ...]] = {}

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        params.pop("out", None)
        known = self._prepared.get(tuple(map(id, inputs)))
        outputs, leaves, _ = known or self._forward(inputs, params)
        try:
            return gradients(outputs, leaves, inputs[-1], retain_graph=known is not None)
        except RuntimeError as error:
            if known is None or "modified by an inplace operation" not in str(error):
                raise
            raise RuntimeError(
                "the backward pass writes to what its forward pass has saved, so that it can be called once alone, and "
                "a race calls it many times for one forward pass; let it write to other memory"
            ) from error

    def prepare(self, several: Iterable[tuple[Any, ...]], params: Mapping[str, Any]) -> None:
        """Run the forward pass on each of these inputs, for calls on the same buffers; forget all others."""
        self._prepared = {}
        for inputs in several:
            self._prepared[tuple(map(id, inputs))] = self._forward(inputs, params)

    def _forward(self, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> tuple[Any, ...]:
        """Outputs with their graph, the leaves of it, and the inputs, so that none of their ids is used again."""
        outputs, leaves = differentiable(self.forward, inputs[:-1], params)
        return outputs, leaves, inputs


def differentiable(
    forward: Callable[..., Any], inputs: tuple[Any, ...], params: Mapping[str, Any]
) -> tuple[list[Tensor], list[Tensor]]:
    """Call with gradients on; the outputs that have a graph, and the inputs, as its leaves."""
    import torch

    from pytest_kgate.problems.trees import tree

    leaves: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return tensor
        leaves.append(tensor.detach().requires_grad_())
        return leaves[-1]

    with torch.enable_grad():
        result = forward(*tree.mapped(inputs, leaf), **params)
    return [one for one in tree.tensors(result) if one.requires_grad], leaves


def gradients(outputs: list[Tensor], leaves: list[Tensor], of_outputs: Any, *, retain_graph: bool = False) -> Any:
    """The gradients of the leaves: one tensor, or a tuple; zeros for those that take no part.

    Each has memory of its own: what is added, cut or reshaped hands on the gradient of its output, or a view of it.
    """
    import torch

    from pytest_kgate.problems.trees import tree

    given = list(tree.tensors(of_outputs))
    found = torch.autograd.grad(outputs, leaves, given, retain_graph=retain_graph, allow_unused=True)
    handed = {one.untyped_storage().data_ptr() for one in given}

    def own(gradient: Tensor) -> Tensor:
        handed_on = gradient.layout is torch.strided and gradient.untyped_storage().data_ptr() in handed
        return gradient.clone() if handed_on else gradient

    whole = [torch.zeros_like(leaf) if one is None else own(one) for one, leaf in zip(found, leaves, strict=True)]
    return whole[0] if len(whole) == 1 else tuple(whole)


def backward_parts(
    inputs: Callable[[Generator], Any],
    hard_inputs: Callable[[Generator], Any] | None,
    reference: Callable[..., Any] | Mapping[str, Callable[..., Any]],
    exact: Callable[..., Any],
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """Of the parts of a forward problem, those of the problem of its gradients."""
    references = reference if isinstance(reference, Mapping) else {"": reference}
    shaped = next(iter(references.values()))
    drawing = _Drawing(shaped, params)
    several = {name: Backward(one) for name, one in references.items()}
    return {
        "inputs": lambda generator: drawing(inputs, generator),
        "hard_inputs": None if hard_inputs is None else lambda generator: drawing(hard_inputs, generator),
        "reference": several if isinstance(reference, Mapping) else several[""],
        "exact": _Exact(exact, shaped),
    }


class _Drawing:
    """Draws the inputs, and behind them the gradients of the output: normal values of its shape and dtype."""

    def __init__(self, forward: Callable[..., Any], params: Mapping[str, Any]) -> None:
        self._forward = forward
        self._params = params
        self._kinds: list[tuple[Any, Any]] = []

    def __call__(self, draw: Any, generator: Generator) -> tuple[Any, ...]:
        import torch

        from pytest_kgate.problems.trees.arguments import as_arguments

        inputs = as_arguments(draw(generator))
        if not self._kinds:
            outputs, _ = differentiable(self._forward, inputs, self._params)
            self._kinds = [(one.shape, one.dtype) for one in outputs]
        made = tuple(
            torch.randn(shape, generator=generator, device=generator.device, dtype=_wide(dtype)).to(dtype)
            for shape, dtype in self._kinds
        )
        return (*inputs, made[0] if len(made) == 1 else made)


def _wide(dtype: Any) -> Any:
    """In which random numbers are drawn that become this type."""
    import torch

    return dtype if dtype in (torch.float64, torch.complex64, torch.complex128) else torch.float32


class _Exact:
    """The gradients in float64: of `exact`, or where that has no graph, of the reference called in float64."""

    def __init__(self, exact: Callable[..., Any], reference: Callable[..., Any]) -> None:
        self._functions = (exact, reference)

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        import torch

        from pytest_kgate.problems.trees import tree

        def widened(tensor: Tensor) -> Tensor:
            if tensor.is_complex():
                return tensor.to(torch.complex128)
            return tensor.double() if tensor.is_floating_point() else tensor

        wide = tree.mapped(inputs, widened)
        outputs, leaves = differentiable(self._functions[0], wide[:-1], params)
        if not outputs:
            outputs, leaves = differentiable(self._functions[1], wide[:-1], params)
        return gradients(outputs, leaves, wide[-1])

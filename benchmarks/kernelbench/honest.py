"""Right candidates whose rounding is another than the model's: by PyTorch's settings, by layout, in emulation."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pytest_kgate.problems.rounding.tf32 import OPERANDS
from pytest_kgate.problems.rounding.tf32 import Operands
from pytest_kgate.problems.rounding.tf32 import cut_off
from pytest_kgate.problems.rounding.tf32 import without_tf32
from pytest_kgate.problems.trees import tree

_CONVOLUTIONS = {name: places for name, places in OPERANDS.items() if "conv" in name}

_UNFOLDED = 2**31
"""Elements at most of a convolution's patches beside each other: 8 GiB."""


def variants(problem: Any, device: torch.device) -> dict[str, Callable[..., Any]]:
    """By name, what is called like the model."""
    copy = problem.copy()

    def within(*blocks: Callable[[], Any]) -> Callable[..., Any]:
        def call(*inputs: Any) -> Any:
            with contextlib.ExitStack() as stack:
                for block in blocks:
                    stack.enter_context(block())
                return copy(*inputs)

        return call

    everywhere = functools.partial(tf32, convolutions=True, products=True)
    return {
        "tf32 everywhere": within(everywhere),
        "float32": within(without_tf32),
        "cut": within(without_tf32, lambda: Operands(cut_off, _CONVOLUTIONS)),
        "cut everywhere": within(without_tf32, lambda: Operands(cut_off)),
        "rounded everywhere": within(without_tf32, lambda: Operands(_rounded)),
        "channels last": _channels_last(problem, device),
        "folded": within(_Folded),
        "reassociated": within(_Reassociated),
        "deterministic": within(lambda: _cudnn(deterministic=True)),
        "without cudnn": within(lambda: _cudnn(enabled=False), everywhere),
        "patches": within(everywhere, _Patches),
        "winograd": within(everywhere, _Winograd),
        "benchmark": within(lambda: _cudnn(benchmark=True)),
    }


@contextlib.contextmanager
def tf32(*, convolutions: bool, products: bool) -> Iterator[None]:
    """A block in which PyTorch has TF32 where this says; a CPU has none."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32, matmul.allow_tf32 = convolutions, products
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


@contextlib.contextmanager
def _cudnn(**settings: bool) -> Iterator[None]:
    """A block with these settings of cuDNN: one by one, since PyTorch's own block for them sets the precision, too."""
    before = {name: getattr(torch.backends.cudnn, name) for name in settings}
    for name, value in settings.items():
        setattr(torch.backends.cudnn, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(torch.backends.cudnn, name, value)


def _rounded(values: Tensor) -> Tensor:
    """The nearest numbers of TF32; of two, the one that is further from zero."""
    half = 2**12  # of the 13 bits that are cut off
    return cut_off((values.contiguous().view(torch.int32) + half).view(torch.float32))


def _channels_last(problem: Any, device: torch.device) -> Callable[..., Any]:
    """The model with images and weights in the other layout, for which cuDNN has other kernels."""
    copy = problem.copy()

    def call(*inputs: Any) -> Any:
        model = copy.on(device)
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        for one in model.parameters():
            if one.dim() in formats:
                one.data = one.data.contiguous(memory_format=formats[one.dim()])
        last = tree.mapped(
            inputs, lambda one: one.contiguous(memory_format=formats[one.dim()]) if one.dim() in formats else one
        )
        return tree.mapped(copy(*last), Tensor.contiguous)

    return call


_CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)


def _arguments(args: Any, kwargs: Any) -> dict[str, Any]:
    """Of a convolution, by name."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, args, strict=False)) | (kwargs or {})
    return {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1} | given


def _scale_and_shift(args: Any, kwargs: Any) -> tuple[Tensor, Tensor] | None:
    """What a batch norm in training multiplies by and adds, by channel; None in evaluation."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = {"weight": None, "bias": None, "training": False, "eps": 1e-5}
    given |= dict(zip(names, args, strict=False)) | (kwargs or {})
    if not given["training"]:
        return None
    values = given["input"]
    variance, mean = torch.var_mean(values, [at for at in range(values.dim()) if at != 1], correction=0)
    scale = (variance + given["eps"]).rsqrt()
    scale = scale if given["weight"] is None else scale * given["weight"]
    return scale, -mean * scale if given["bias"] is None else given["bias"] - mean * scale


class _Reassociated(TorchFunctionMode):
    """In the block, batch norm is one scale and one shift by channel, made of the batch's mean and variance."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = _scale_and_shift(args, kwargs) if func is F.batch_norm else None
        if found is None:
            return func(*args, **(kwargs or {}))
        scale, shift = (one.reshape(-1, *[1] * (args[0].dim() - 2)) for one in found)
        return args[0] * scale + shift


class _Folded(TorchFunctionMode):
    """In the block, a convolution before a batch norm is computed again with the norm in its weights and bias."""

    _last: tuple[Any, Any, Any] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm and self._last is not None and args[0] is self._last[2]:
            found = _scale_and_shift(args, kwargs)
            if found is not None:
                convolution, given, _ = self._last
                scale, shift = found
                weight = given["weight"] * scale.reshape(-1, *[1] * (given["weight"].dim() - 1))
                bias = shift if given["bias"] is None else given["bias"] * scale + shift
                return convolution(**{**given, "weight": weight, "bias": bias})
        result = func(*args, **(kwargs or {}))
        if func in _CONVOLVE:
            self._last = func, _arguments(args, kwargs), result
        return result


class _Patches(TorchFunctionMode):
    """In the block, a convolution of images is a matrix product of their patches, as a kernel of one's own is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _arguments(args, kwargs) if func is F.conv2d else None
        if given is None or given["groups"] != 1 or isinstance(given["padding"], str):
            return func(*args, **(kwargs or {}))
        values, weight = given["input"], given["weight"]
        shape = func(*args, **(kwargs or {})).shape
        if shape[0] * shape[2] * shape[3] * weight[0].numel() > _UNFOLDED:
            raise torch.OutOfMemoryError("patches")
        patches = F.unfold(values, weight.shape[2:], given["dilation"], given["padding"], given["stride"])
        result = (weight.flatten(1) @ patches).reshape(shape)
        return result if given["bias"] is None else result + given["bias"].reshape(-1, 1, 1)


class _Winograd(TorchFunctionMode):
    """In the block, convolutions of 3x3 in steps of 1 are Winograd's F(2x2, 3x3), with TF32 in its products."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _arguments(args, kwargs) if func is F.conv2d else None
        if given is None or not _suits_winograd(given):
            return func(*args, **(kwargs or {}))
        values, weight = given["input"], given["weight"]
        down, across = _pair(given["padding"])
        height, width = values.shape[2] + 2 * down - 2, values.shape[3] + 2 * across - 2
        if 16 * values.numel() > 2 * _UNFOLDED:
            raise torch.OutOfMemoryError("tiles")
        of_tile = values.new_tensor([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
        of_weight = values.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
        of_result = values.new_tensor([[1, 1, 1, 0], [0, 1, -1, -1]])
        padded = F.pad(values, (across, across + width % 2, down, down + height % 2))
        tiles = padded.unfold(2, 4, 2).unfold(3, 4, 2)  # images, channels, down, across, 4, 4
        with torch._C.DisableTorchFunctionSubclass(), without_tf32():
            tiles = torch.einsum("ij,ncyxjk,lk->ilncyx", of_tile, tiles, of_tile)
            weights = torch.einsum("ij,ocjk,lk->iloc", of_weight, weight, of_weight)
        images, channels, rows, columns = tiles.shape[2:]
        moved = tiles.permute(0, 1, 3, 2, 4, 5).reshape(16, channels, -1)
        products = torch.bmm(weights.reshape(16, -1, channels), moved)
        with without_tf32():
            products = products.reshape(4, 4, -1, images, rows, columns)
            result = torch.einsum("ij,jkonyx,lk->noyixl", of_result, products, of_result)
        result = result.reshape(images, -1, 2 * rows, 2 * columns)[:, :, :height, :width]
        return result if given["bias"] is None else result + given["bias"].reshape(-1, 1, 1)


def _suits_winograd(given: dict[str, Any]) -> bool:
    square = tuple(given["weight"].shape[2:]) == (3, 3) and given["groups"] == 1
    plain = _pair(given["stride"]) == (1, 1) and _pair(given["dilation"]) == (1, 1)
    return square and plain and not isinstance(given["padding"], str)


def _pair(one: Any) -> tuple[int, int]:
    return (one, one) if isinstance(one, int) else tuple(one)

"""Random rounding of what PyTorch's operators compute: stochastic arithmetic, which measures what rounding does.

What an operator returns is rounded up or down by chance (Vignes, A stochastic arithmetic for reliable scientific
computation, 1993), so that what the type holds exactly stays: constants, comparisons and copies are what they are. What
is added up within one operator is off by as much as an operand may be (Parker, Monte Carlo arithmetic, 1997).
"""

from __future__ import annotations

import functools
import re
from typing import Any

import torch
from torch import Generator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

MANTISSA_BITS = {torch.float64: 52, torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}
"""Of each type that can be rounded, and rounded to."""

_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16}
"""By bytes."""

_PRODUCTS = re.compile(r"conv|mm|mv|dot|attention|rnn|lstm|gru")
_SUMS = re.compile(r"norm|softmax|sum|mean|var|std|prod|avg_pool|fft|linalg")
"""Operators that add up, by a part of their names. Others compute each element from a few, or move values."""


class RandomRounding(TorchDispatchMode):
    """In the block, PyTorch's operators round by chance. Seeded: the same block rounds alike each time."""

    def __init__(self, bits: int, product_bits: int, seed: int) -> None:
        """`bits` of the mantissa that results have, and operands of sums; `product_bits` those of products."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._bits = bits
        self._product_bits = product_bits
        self._seed = seed
        self._generators: dict[torch.device, Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema, kwargs = func._schema, kwargs or {}
        sums_up = [
            bits
            for operators, bits in ((_PRODUCTS, self._product_bits), (_SUMS, self._bits))
            if operators.search(schema.name)
        ]
        if sums_up:
            kept = [one.alias_info is not None for one in schema.arguments]  # what is written to stays what it is
            noisy = functools.partial(tree_map, functools.partial(self._noisy, bits=sums_up[0]))
            args = [one if own else noisy(one) for one, own in zip(args, kept, strict=False)]
        results = func(*args, **kwargs)
        if len(schema.returns) == 1:
            return self._result(results, schema.returns[0].alias_info)
        if not isinstance(results, tuple):
            return results
        return tuple(self._result(one, own.alias_info) for one, own in zip(results, schema.returns, strict=True))

    def _result(self, result: Any, alias: Any) -> Any:
        """One result of an operator, rounded: a new one, or one that it has written to, but no view."""
        if alias is None:
            return tree_map(self._rounded, result)
        if alias.is_write and isinstance(result, Tensor):
            result.copy_(self._rounded(result))
        return result

    def _noisy(self, one: Any, bits: int) -> Any:
        """Each element off by up to what rounding it to so many bits may do."""
        if not isinstance(one, Tensor) or not (one.is_floating_point() or one.is_complex()):
            return one
        most = 2.0 ** -(bits + 1)
        noise = torch.empty(one.shape, dtype=torch.float64, device=one.device)
        noise.uniform_(1 - most, 1 + most, generator=self._generator(one.device))
        return (one * noise).to(one.dtype)

    def _rounded(self, one: Any) -> Any:
        """Each element rounded up or down, by how near it is to either."""
        if not isinstance(one, Tensor):
            return one
        if one.is_complex():
            return torch.view_as_complex(self._rounded(torch.view_as_real(one.resolve_conj())).contiguous())
        dropped = MANTISSA_BITS.get(one.dtype, 0) - self._bits
        if dropped <= 0 or one.layout is not torch.strided or one.device.type == "meta":
            return one
        bits = one.contiguous().view(_INTEGERS[one.itemsize])
        chance = torch.randint(
            2**dropped, one.shape, dtype=bits.dtype, device=one.device, generator=self._generator(one.device)
        )
        rounded: Tensor = ((bits + chance) & -(2**dropped)).view(one.dtype)
        return torch.where(one.isfinite(), rounded, one)

    def _generator(self, device: torch.device) -> Generator:
        if device not in self._generators:
            self._generators[device] = Generator(device).manual_seed(self._seed)
        return self._generators[device]

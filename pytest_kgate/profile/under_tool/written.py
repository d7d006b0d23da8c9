"""Whether an answer is written whole, found by what stood in its memory before.

Initcheck does not see what the tensor memory accelerator stores, and calls an answer unwritten that was stored so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.problems.trees import tree

if TYPE_CHECKING:
    from torch import Tensor

_BEFORE = (0x00, 0xFF)
"""What each byte is before a call; one that is still so after a call of either was not written."""


def written_whole(call: Callable[[Any], Any], output: Any) -> bool:
    """Whether `call(output)`, made twice, writes every byte of every tensor of `output`, and returns `output`."""
    import torch

    untouched: list[Tensor] | None = None
    for byte in _BEFORE:
        for one in tree.tensors(output):
            tree.bytes_of(one).fill_(byte)
        if call(output) is not output:
            return False
        still = [tree.bytes_of(one).cpu() == byte for one in tree.tensors(output)]
        untouched = still if untouched is None else [a & b for a, b in zip(untouched, still, strict=True)]
    return not any(bool(torch.any(one)) for one in untouched or ())


def memory_of(output: Any) -> list[tuple[int, int]]:
    """Where each tensor lies: the address of its first byte, and how many it has."""
    return [(span.data_ptr(), span.numel()) for span in map(tree.bytes_of, tree.tensors(output))]

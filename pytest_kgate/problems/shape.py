"""The extents of an attention problem, with what else tells one attention from another: mask, window, cap, bias."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY
from dataclasses import dataclass
from dataclasses import fields
from numbers import Real
from typing import Any

BIASES = ("shared", "heads", "full")
"""What `Shape.bias` may be besides None."""

_SAME_SCALE = 1e-12
"""Relative: what rounding makes of 1/sqrt(head_dim), written in one way or another."""

__tracebackhide__ = True
"""A wrong argument is then shown at the line that made the shape, not inside the dataclass."""


@dataclass(frozen=True)
class Shape:
    """One attention problem: softmax(scores) V, with scores = Q K^T * scale, capped, biased and masked in this order.

    Queries and the answer are `(batch, heads, seqlen, head_dim)`, keys and values `(batch, kv_heads, kv_seqlen,
    head_dim)`; head h reads the keys of head h // (heads / kv_heads). Row i stands at key i + kv_seqlen - seqlen: the
    last row at the last key. A row that sees no key gives zeros. What is left at None has its usual value; an argument
    that names the usual value is kept as None, so that equal problems are equal shapes.
    """

    batch: int
    heads: int
    seqlen: int
    """Rows of queries: 1 in a decode step."""
    head_dim: int
    causal: bool = False
    """A row sees the keys up to its own place, none behind it."""
    _: KW_ONLY
    kv_heads: int | None = None
    """Heads of keys and values, each read by as many heads of queries as the others; None: as many as `heads`."""
    kv_seqlen: int | None = None
    """Number of keys; None: as many as rows."""
    window: int | None = None
    """A row sees keys less than so many places away from its own, on either side: with `causal`, its own key and the
    `window` - 1 before it."""
    softcap: float | None = None
    """Scaled scores s become softcap * tanh(s / softcap)."""
    scale: float | None = None
    """Factor of Q K^T; None: 1 / sqrt(head_dim)."""
    bias: str | None = None
    """A fourth input that is added to the scores, `(batch, heads, seqlen, kv_seqlen)`: `full`; or 1 in place of the
    batch: `heads`; or in place of both: `shared`."""

    def __post_init__(self) -> None:
        for name in ("batch", "heads", "seqlen", "head_dim", "kv_heads", "kv_seqlen", "window"):
            value = getattr(self, name)
            if value is None and name in ("kv_heads", "kv_seqlen", "window"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"Shape.{name} must be a positive integer, got {value!r}")
        if not isinstance(self.causal, bool):  # "false", say, would be taken for True
            raise ValueError(f"Shape.causal must be True or False, got {self.causal!r}")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ValueError(
                f"Shape.kv_heads must divide heads, since each is read by as many: got {self.kv_heads} of {self.heads}"
            )
        for name in ("softcap", "scale"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _positive(name, value))
        if self.bias is not None and self.bias not in BIASES:
            raise ValueError(f"Shape.bias must be one of {', '.join(BIASES)}, or None, got {self.bias!r}")
        if self.kv_heads == self.heads:
            object.__setattr__(self, "kv_heads", None)
        if self.kv_seqlen == self.seqlen:
            object.__setattr__(self, "kv_seqlen", None)
        if self.scale is not None and math.isclose(self.scale, 1 / math.sqrt(self.head_dim), rel_tol=_SAME_SCALE):
            object.__setattr__(self, "scale", None)

    @property
    def key_heads(self) -> int:
        """Heads of keys and values."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def group(self) -> int:
        """Heads of queries that read one head of keys."""
        return self.heads // self.key_heads

    @property
    def keys(self) -> int:
        """Number of keys."""
        return self.seqlen if self.kv_seqlen is None else self.kv_seqlen

    @property
    def factor(self) -> float:
        """What Q K^T is multiplied by."""
        return 1 / math.sqrt(self.head_dim) if self.scale is None else self.scale

    @property
    def query_extents(self) -> tuple[int, int, int, int]:
        """The extents of the queries, and of the answer: (batch, heads, seqlen, head_dim)."""
        return self.batch, self.heads, self.seqlen, self.head_dim

    @property
    def key_extents(self) -> tuple[int, int, int, int]:
        """The extents of the keys, and of the values: (batch, key heads, keys, head_dim)."""
        return self.batch, self.key_heads, self.keys, self.head_dim

    @property
    def bias_extents(self) -> tuple[int, int, int, int] | None:
        """The extents of the bias; None where there is none."""
        if self.bias is None:
            return None
        of_heads = 1 if self.bias == "shared" else self.heads
        return self.batch if self.bias == "full" else 1, of_heads, self.seqlen, self.keys

    def arguments(self) -> dict[str, Any]:
        """What this shape is made of, by name, in types of JSON."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def visible(self, row: int) -> range:
        """The keys that a row sees, of one head."""
        place = row + self.keys - self.seqlen
        first = 0 if self.window is None else place - self.window + 1
        end = self.keys
        if self.causal:
            end = place + 1
        elif self.window is not None:
            end = place + self.window
        return range(max(0, first), max(0, first, min(end, self.keys)))

    def __str__(self) -> str:
        extents = f"{self.batch}x{self.heads}x{self.seqlen}x{self.head_dim}"
        named = {
            "kvheads": self.kv_heads,
            "kv": self.kv_seqlen,
            "window": self.window,
            "softcap": self.softcap,
            "scale": self.scale,
        }
        parts = [f"{name}{_short(value)}" for name, value in named.items() if value is not None]
        flags = ["causal"] * self.causal + ([f"bias_{self.bias}"] if self.bias else [])
        return "-".join([extents, *parts, *flags])


def _positive(name: str, value: Any) -> float:
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"Shape.{name} must be a positive number, got {value!r}")
    return number


def _short(value: float) -> str:
    return repr(value).removesuffix(".0")

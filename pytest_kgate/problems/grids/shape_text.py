"""A shape as users write it in a command, and as it stands in test ids: `1x8x512x64-causal`."""

from __future__ import annotations

import re
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.problems.shape import BIASES
from pytest_kgate.problems.shape import Shape

_HOW = "Write batch x heads x seqlen x head_dim, as 1x8x512x64, and what else it has: 1x8x512x64-kvheads2-causal."

_NUMBERS = {"kvheads": "kv_heads", "kv": "kv_seqlen", "window": "window", "softcap": "softcap", "scale": "scale"}
"""By the name in the text, the argument of `Shape`."""

_NUMBERED = re.compile(rf"({'|'.join(_NUMBERS)})(\d+(?:\.\d+)?(?:e-?\d+)?)", re.ASCII)


def parse_shape(text: str) -> Shape:
    """The shape whose `str` is this text; raises `UsageError`."""
    head, *parts = re.split(r"(?<!e)-", text)
    if not re.fullmatch(r"\d+(x\d+){3}", head, re.ASCII):
        raise UsageError(f"{text!r} is no shape.", _HOW)
    more: dict[str, Any] = {}
    for part in parts:
        numbered = _NUMBERED.fullmatch(part)
        if part == "causal":
            more["causal"] = True
        elif part.startswith("bias_") and part.removeprefix("bias_") in BIASES:
            more["bias"] = part.removeprefix("bias_")
        elif numbered:
            name = _NUMBERS[numbered[1]]
            more[name] = (float if name in ("softcap", "scale") else int)(numbered[2])
        else:
            raise UsageError(f"{part!r} in the shape {text!r} is not known.", _HOW)
    try:
        batch, heads, seqlen, head_dim = map(int, head.split("x"))
        return Shape(batch, heads, seqlen, head_dim, **more)
    except ValueError as error:
        raise UsageError(f"{text!r} is no shape: {str(error).replace('Shape.', '')}.", _HOW) from error

"""Flags of the compiler that a source sets by itself: `// flags: -ffast-math -funroll-loops`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DEFINES = r"-D[A-Za-z_]\w*(=[\w.+-]*)?"
_ALLOWED = {
    "host": (
        r"-O[0123]|-Ofast",
        r"-f(no-)?(fast-math|math-errno|unroll-loops|associative-math|reciprocal-math|signed-zeros|trapping-math)",
        r"-f(no-)?(finite-math-only|tree-vectorize|prefetch-loop-arrays|omit-frame-pointer|inline)",
        r"-ffp-contract=(fast|on|off)",
        r"-m(arch|tune)=[\w.+-]+|-m(avx|avx2|avx512[a-z0-9]*|fma|f16c|bmi2?|sse[\d.a-z]*)",
        r"-mprefer-vector-width=(128|256|512|none)",
        _DEFINES,
    ),
    "cuda": (
        r"-O[0123]",
        r"--?use_fast_math|--?extra-device-vectorization|--?restrict",
        r"--?(ftz|fmad|prec-div|prec-sqrt)=(true|false)",
        r"--?maxrregcount=\d{1,3}",
        _DEFINES,
    ),
}
"""By the kind of device: those that change the code and nothing else. None names a file, a program or a plugin."""


def first_refused(flags: Sequence[str], device_kind: str) -> str | None:
    """The first flag that a source can't set for itself; None where all can be."""
    allowed = re.compile("|".join(_ALLOWED[device_kind]))
    return next((flag for flag in flags if not allowed.fullmatch(flag)), None)


def allowed_flags(device_kind: str) -> str:
    """Some of those that may be set, for messages and prompts."""
    if device_kind == "cuda":
        return "-use_fast_math, -maxrregcount=N, -extra-device-vectorization, -fmad=false, -O3, -DNAME=VALUE"
    return "-O3, -ffast-math, -funroll-loops, -march=native, -mprefer-vector-width=512, -DNAME=VALUE"

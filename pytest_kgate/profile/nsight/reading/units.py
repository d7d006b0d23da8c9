"""Units as Nsight Compute writes them, and how many base units they are: bytes, seconds, hertz, cycles, percent."""

from __future__ import annotations

_PREFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}

_SCALED = frozenset(("byte", "B", "s", "second", "hz", "Hz", "cycle", "inst", "sector", "request", "warp", "thread"))
"""Units that it writes with a prefix where a number is large or small: `Mbyte`, `usecond` (`us` in newer versions)."""


def factor(unit: str) -> float:
    """Base units of one `unit`, which may be a rate: 1e12 of `Tbyte/s`, 1e9 of `sector/ns`, 1 of `%`."""
    above, *below = unit.split("/")
    number = _prefix(above)
    for part in below:
        number /= _prefix(part)
    return number


def _prefix(word: str) -> float:
    if word not in _SCALED and word[1:] in _SCALED:
        return _PREFIXES.get(word[0], 1.0)
    return 1.0

"""What dropout drops, as bools: whether the share that is dropped fits a probability everywhere, in each call anew.

Each test bounds the chance of what it refuses by Chernoff's inequality, exact for any number of elements, or by that
of Laurent and Massart (Adaptive estimation of a quadratic functional, 2000, lemma 1) for sums of squares.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_TAIL = 22.0
"""A test refuses what chance does once in e^22 = 4e9 answers. There are some ten for an answer."""

_BLOCK = 64
"""Shares are compared between rows, columns and blocks of so many elements or more."""

_BLOCKS_TOGETHER = 8
"""Larger blocks are made of so many."""

_LEAST_VARIANCE = 16.0
"""Of how many are dropped: fewer are too far from normal for their squares to be summed."""

_COMPARED = 2**20
"""Of an answer's first elements, pairs are compared: of more, nothing new is told by what takes that long."""

_SHIFTED = 2**18
"""Of so many first elements each call is compared with another at all shifts, which takes 10 ms on a host."""

_LEAST_OVERLAP = 1024
"""Shifts that leave fewer elements to compare tell nothing."""

_LIKELIEST = 4
"""Of all shifts, those at which two calls are most alike are counted."""


@dataclass(frozen=True)
class Mask:
    """Which elements were dropped, and of which it can be told."""

    dropped: Tensor
    """Only where it is told."""
    told: Tensor
    """Not where the input is 0."""

    @property
    def start(self) -> Mask:
        """Its first elements, as one dimension in memory of their own."""
        return self.first(_COMPARED, copied=True)

    def first(self, count: int, *, copied: bool = False) -> Mask:
        """So many of its first elements, as one dimension."""
        dropped, told = (one.reshape(-1)[:count] for one in (self.dropped, self.told))
        return Mask(dropped.clone(), told.clone()) if copied else Mask(dropped, told)

    @functools.cached_property
    def spectrum(self) -> Tensor:
        """Of its first elements, less their mean, with as many zeros behind them."""
        part = self.first(_SHIFTED)
        share = part.dropped.sum() / part.told.sum().clamp_min(1)
        found: Tensor = torch.fft.rfft(part.dropped.float() - share * part.told, 2 * part.told.numel())
        return found


def unfit(mask: Mask, p: float) -> str:
    """Why what was dropped is not what chance drops with probability `p`; empty where it may be."""
    for what, own, of in _groups(mask.dropped, mask.told):
        if not _fits(own.double(), of.double(), p):
            share = float(mask.dropped.sum()) / max(1.0, float(mask.told.sum()))
            return f"the share of zeros {what} does not fit p = {p:g}: in all it is {share:.4g}"
    return _echoes(mask, p)


def repeated(mask: Mask, before: Mask, p: float) -> str:
    """Why the mask of one call follows from that of a call before; empty where it may be chance. Both are starts."""
    own, of = _behind(before, mask)
    if float(_surprise(own, of, p).max()) <= _TAIL:
        return ""
    return (
        f"what one call drops goes by what another has dropped: of the elements that were dropped there, "
        f"{_shares(own, of)}, where p = {p:g}; draw a seed anew for each call"
    )


def shifted(mask: Mask, before: Mask, p: float) -> str:
    """Why the mask of one call is that of a call before but for a shift; empty where it may be chance.

    Both are starts of one length. So are masks cut out of one that was made once, from another place in each call.
    """
    count = min(mask.told.numel(), _SHIFTED)
    lags = 2 * (count - _LEAST_OVERLAP) + 1
    if lags <= 0:
        return ""
    alike = torch.fft.irfft(mask.spectrum * before.spectrum.conj(), 2 * count)
    shifts = torch.arange(2 * count, device=alike.device)
    shifts = torch.where(shifts < count, shifts, shifts - 2 * count)
    overlaps = count - shifts.abs()
    alike = torch.where(overlaps < _LEAST_OVERLAP, -math.inf, alike / overlaps.clamp_min(1).sqrt())
    for shift in shifts[alike.topk(_LIKELIEST).indices].tolist():
        one, other = (mask, before) if shift >= 0 else (before, mask)
        one = Mask(one.dropped[abs(shift) : count], one.told[abs(shift) : count])
        own, of = _behind(other.first(count - abs(shift)), one)
        if float(_surprise(own, of, p).max()) > _TAIL + math.log(lags):
            return (
                f"what one call drops is what another has dropped, {abs(shift)} places from there: of the elements "
                f"that were dropped there, {_shares(own, of)}, where p = {p:g}; draw a seed anew for each call"
            )
    return ""


def _echoes(mask: Mask, p: float) -> str:
    """Whether an element goes by the one so many places before: runs, a pattern, one mask for all rows or blocks."""
    start, count = mask.start, min(mask.told.numel(), _COMPARED)
    width = mask.told.shape[-1] if mask.told.dim() > 1 else 1
    lags = sorted({first << power for first in (1, width) if first for power in range(count.bit_length())})
    lags = [lag for lag in lags if 2 * lag <= count]
    if not lags:
        return ""
    found = [_behind(*_halves(start, lag)) for lag in lags]
    own, of = (torch.stack(ones) for ones in zip(*found, strict=True))
    surprise = _surprise(own, of, p).amax(1)
    worst = int(surprise.argmax())
    if float(surprise[worst]) <= _TAIL + math.log(len(lags)):
        return ""
    return (
        f"what is dropped goes by what is dropped {lags[worst]} places before: behind elements that were dropped, "
        f"{_shares(own[worst], of[worst])}, where p = {p:g}"
    )


def _halves(mask: Mask, lag: int) -> tuple[Mask, Mask]:
    """Elements and those `lag` places behind them, where no element is in two pairs: pairs are then independent."""
    whole = mask.told.numel() // (2 * lag) * 2 * lag
    dropped, told = (one[:whole].view(-1, 2, lag) for one in (mask.dropped, mask.told))
    return Mask(dropped[:, 0], told[:, 0]), Mask(dropped[:, 1], told[:, 1])


def _behind(before: Mask, mask: Mask) -> tuple[Tensor, Tensor]:
    """How many are dropped and how many there are, of those that were dropped `before` and of those that were kept.

    Whatever was dropped before, by chance each of these numbers is binomial.
    """
    told = before.told & mask.told
    both, now = (before.dropped & mask.dropped).sum(), (mask.dropped & told).sum()
    then, count = (before.dropped & told).sum(), told.sum()
    return torch.stack([both, now - both]).double(), torch.stack([then, count - then]).double()


def _shares(own: Tensor, of: Tensor) -> str:
    shares = [f"{100 * float(one / all_of):.3g} %" if all_of else "none" for one, all_of in zip(own, of, strict=True)]
    return f"{shares[0]} are dropped, and {shares[1]} of the others"


def _groups(dropped: Tensor, told: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """How many elements were dropped, and how many there are: in all, by rows, by columns, by blocks of any size."""
    yield "in the whole", dropped.sum()[None], told.sum()[None]
    if dropped.dim() > 1 and dropped.numel():
        flat, all_flat = (one.reshape(-1, one.shape[-1]) for one in (dropped, told))
        for what, dim in (("by rows", 1), ("by columns", 0)):
            if flat.shape[dim] >= _BLOCK and flat.shape[1 - dim] > 1:
                yield what, flat.sum(dim), all_flat.sum(dim)
    own, of, size = dropped.reshape(-1), told.reshape(-1), _BLOCK
    count = _BLOCK
    while own.numel() >= 2 * count:
        whole = own.numel() // count * count
        own, of = (one[:whole].view(-1, count).sum(1) for one in (own, of))
        yield f"by blocks of {size}", own, of
        count = _BLOCKS_TOGETHER
        size *= count


def _fits(own: Tensor, of: Tensor, p: float) -> bool:
    """Whether each group's number may be chance, and how far all of them are from what is expected."""
    if float(_surprise(own, of, p).max()) > _TAIL + math.log(own.numel()):
        return False
    variances = of * p * (1 - p)
    many = variances >= _LEAST_VARIANCE
    squares = (own - of * p).square()[many] / variances[many]
    apart = float(squares.sum()) - squares.numel()
    spread = 2 * math.sqrt(_TAIL * squares.numel())
    return -spread <= apart <= spread + 2 * _TAIL


def _surprise(own: Tensor, of: Tensor, p: float) -> Tensor:
    """Of `own` among `of` with probability `p` each: chance does that or more once in e to this, or less often."""
    left = of - own
    log = torch.special.xlogy
    found: Tensor = log(own, own) - log(own, of * p) + log(left, left) - log(left, of * (1 - p))
    return found

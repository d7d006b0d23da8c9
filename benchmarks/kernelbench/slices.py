"""The errors of an answer by axis: of all elements at one index of it, such as a channel, a column or an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Slices:
    """By axis and index, in float64."""

    squares: tuple[Tensor, ...]
    """The mean of squared errors."""
    means: tuple[Tensor, ...]
    """The mean of errors, with their signs."""
    count: int
    """Of all elements."""

    @classmethod
    def of(cls, truth: Any, answer: Tensor) -> Slices:
        """Of an answer beside an `ExactAnswer`; what is not finite counts as right."""
        errors = (answer.double() - truth.exact.to(answer.device).double()).nan_to_num_(0.0, 0.0, 0.0)
        errors = errors.reshape(errors.shape or (1,))
        means = _by_axis(errors)
        return cls(_by_axis(errors.square()), means, errors.numel())

    def beside(self, reference: Slices, wider: Mapping[str, Slices], rounding: float) -> list[dict[str, float | int]]:
        """By axis of more than one index, the worst of them; also where errors of the `wider` are allowed, in turn."""
        found: list[dict[str, float | int]] = []
        floor = rounding**2
        for at, own in enumerate(self.squares):
            if len(own) < 2:
                continue
            base = _at_least(reference.squares[at], floor)
            ratios = (own / base).sqrt()
            signed = self.means[at].abs() / _at_least(reference.means[at].square(), floor).sqrt()
            index = int(ratios.argmax())
            median = float(ratios.median())
            found.append(
                {
                    "axis": at,
                    "indices": len(own),
                    "elements": self.count // len(own),
                    "worst": float(ratios[index]),
                    "index": index,
                    "median": median,
                    "above": float(ratios[index]) / max(median, 1e-30),
                    "signed": float(signed.max()),
                }
            )
            for name, one in wider.items():
                base = torch.maximum(base, _at_least(one.squares[at], floor))
                ratios = (own / base).sqrt()
                found[-1] |= {name: float(ratios.max()), f"{name}, median": float(ratios.median())}
        return found


def _by_axis(values: Tensor) -> tuple[Tensor, ...]:
    axes = range(values.dim())
    return tuple(values.movedim(at, 0).flatten(1).mean(1) if len(axes) > 1 else values for at in axes)


def _at_least(squares: Tensor, floor: float) -> Tensor:
    """By index, but at least their mean and the floor: that one index is right by chance asks no more of others."""
    return squares.clamp(min=max(float(squares.mean()), floor, 1e-300))

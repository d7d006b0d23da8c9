"""A mutant of attention: the right rule with a step replaced, called as the reference is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor

from pytest_kgate.problems.attention.exact import Rule
from pytest_kgate.problems.attention.exact import attend
from pytest_kgate.problems.attention.exact import rule_of

Kernel = Callable[..., Any]

Change = Callable[[Rule], Rule]


def _same(one: Tensor) -> Tensor:
    return one


def changing(change: Change, *, bias_of: Callable[[Tensor], Tensor] = _same) -> Kernel:
    """The kernel that follows the changed rule, with what `bias_of` makes of the bias."""

    def kernel(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None = None,
        *,
        return_lse: bool = False,
        **of_rule: Any,
    ) -> Any:
        rule = change(rule_of(query, key, **of_rule))
        own_bias = None if bias is None else bias_of(bias)
        answer, log_sums = attend(rule, query, key, value, own_bias, with_log_sum=return_lse)
        return answer.to(value.dtype) if log_sums is None else (answer.to(value.dtype), log_sums.float())

    return kernel


def with_steps(**steps: Any) -> Kernel:
    """The kernel of the right rule with these steps in place of its own."""
    return changing(lambda rule: replace(rule, **steps))

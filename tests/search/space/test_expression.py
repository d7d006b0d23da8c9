"""Constraints mean what Python means by them, and can do nothing else."""

from __future__ import annotations

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.space.configuration import Value
from pytest_kgate.search.space.expression import Expression

VALUES: dict[str, Value] = {"M": 64, "N": 48, "STAGES": 3, "MODE": "max-autotune", "FAST": True, "smem_bytes": 232448}


@pytest.mark.parametrize(
    "text",
    [
        "M % 16 == 0 and N % 16 == 0",
        "STAGES * N * (64 + 8) * 4 + M * 72 * 2 <= smem_bytes",
        "M // N == 1 and M / N > 1.3 and M ** 2 == 4096",
        "16 <= N <= M < 128",
        "MODE in ['default', 'max-autotune'] and STAGES not in (4, 5)",
        "not FAST or STAGES > 2",
        "min(M, N) == 48 and max(M, N, 3) == 64 and abs(N - M) == 16",
        "STAGES == 3 if MODE == 'max-autotune' else STAGES == 2",
        "(STAGES or 2) * -1 + +4 == 1",
        "2 ** STAGES <= 8",
    ],
)
def test_expression_is_true_as_python_has_it(text: str) -> None:
    assert Expression(text).holds(VALUES) is True
    assert Expression(f"not ({text})").holds(VALUES) is False


def test_names_are_told_in_their_order() -> None:
    assert Expression("N * M <= smem_bytes or M == N").names == ("N", "M", "smem_bytes")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("__import__('os').system('true')", "`__import__('os').system('true')`"),
        ("().__class__", "`().__class__`"),
        ("print(M)", "`print(M)`"),
        ("min(*[1, 2]) == 1", "`*[1, 2]`"),
        ("M[0] == 1", "`M[0]`"),
        ("[x for x in [M]]", "`[x for x in [M]]`"),
        ("(lambda: M)()", "`(lambda: M)()`"),
        ("f'{M}' == '64'", "`f'{M}'`"),
        ("(M := 3) == 3", "`(M := 3)`"),
        ("M << 3 == 512", "`M << 3`"),
        ("M in range(3)", "`range(3)`"),
        ("M in N", "`N`"),
        ("M is N", "`is`"),
        ("M == None", "`None`"),
        ("max(M) == 1", "max with 1"),
        ("abs(M, N) == 1", "abs with 2"),
        ("M ==", "can't be read"),
        ("M = 3", "can't be read"),
        ("", "can't be read"),
        ("M\x00", "can't be read"),
        ("1" * 400 + " * 1 == M", "beyond all sizes"),
        ("M" + " + M" * 900, "too long"),
        ("(" * 900 + "M" + ")" * 900, "too long|can't be read"),
        ("not " * 450 + "M", "too long"),
    ],
)
def test_anything_else_is_refused_before_it_is_computed(text: str, named: str) -> None:
    with pytest.raises(UsageError, match="constraint") as refused:
        Expression(text).holds(VALUES)
    assert any(part in refused.value.what for part in named.split("|"))


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("M % (N - 48) == 0", "zero"),
        ("9 ** 9 ** 9 ** 9 > 1", "beyond all sizes"),
        ("M ** (2 ** 30) > 1", "beyond all sizes"),
        (" * ".join(["10000000000000000000"] * 9) + " > M", "beyond all sizes"),
        ("10.0 ** 999 > M", "out of range"),
        ("(0 - M) ** 0.5 > 1", "no real number"),
        ("MODE * 1000000000 == MODE", "no number"),
        ("MODE % M == 'x'", "no number"),
        ("MODE < M", "not supported"),
    ],
)
def test_what_has_no_value_says_for_which_knobs(text: str, because: str) -> None:
    with pytest.raises(UsageError, match="can't be computed for") as refused:
        Expression(text).holds(VALUES)
    assert because in refused.value.what.casefold()

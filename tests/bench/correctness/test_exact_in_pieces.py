"""Large exact answers are made in pieces where, and only where, their rows have nothing to do with each other."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate.bench.correctness import problem_calls
from pytest_kgate.bench.correctness.check import check
from pytest_kgate.bench.correctness.exact import answer as module
from pytest_kgate.bench.correctness.exact.answer import exact_by_rows
from pytest_kgate.device.arm import bind
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.problem import Problem
from pytest_kgate.statistics.gates import Verdict

N = 24


@pytest.fixture(autouse=True)
def _all_are_large(monkeypatch):
    monkeypatch.setattr(module, "_LARGE_BYTES", 0)
    monkeypatch.setattr(module, "_PIECE_BYTES", 1)


def drawn(*shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(shape, generator=generator).to(dtype) for shape in shapes)


def problem_of(exact, inputs, **how):
    return Problem(name="it", inputs=lambda g: inputs, reference=lambda *all_: exact(*all_).float(), exact=exact, **how)


def pieces_of(exact, inputs, **how):
    """How many rows the exact answer was asked for at a time, and the answer; None where it is not made in pieces."""
    asked = []

    def counted(*some):
        found = exact(*some)
        asked.append(found.shape)
        return found

    whole = exact(*inputs)
    found = exact_by_rows(problem_of(counted, inputs, **how), inputs, whole.to(inputs[0].dtype))
    return None if found is None else (asked, found, whole)


APART = {
    "relu of a vector": (lambda x: x.double().relu(), (N,)),
    "softmax": (lambda x: x.double().softmax(-1), (N, 8)),
    "square matmul": (lambda a, b: a.double() @ b.double(), (N, N), (N, N)),
    "bias of as many as rows": (lambda x, b: x.double() + b.double(), (N, N), (N,)),
    "outer": (lambda a, b: a.double()[:, None] * b.double(), (N,), (N,)),
    "one batch of heads": (lambda q, k: q.double() @ k.double().transpose(-1, -2), (1, N, 4, 8), (1, N, 6, 8)),
    "batched": (lambda a, b: torch.bmm(a.double(), b.double()), (N, 3, 4), (N, 4, 5)),
}

TOGETHER = {
    "mean of the batch": (lambda x: x.double() - x.double().mean(0), (N, 8)),
    "sum from row to row": (lambda x: x.double().cumsum(0), (N, 8)),
    "last row first": (lambda x: x.double().flip(0), (N, 8)),
    "mask by row": (lambda x: x.double().tril(), (N, N)),
    "over their number": (lambda x: x.double() / len(x), (N, 8)),
    "sum of rows": (lambda x: x.double().sum(0), (N, N)),
    "out of nothing": (lambda x: x.double().expand(N, 8).clone(), (1,)),
    "three rows": (lambda x: x.double().relu(), (3, 8)),
}


@pytest.mark.parametrize("name", APART)
def test_rows_that_stand_alone_are_made_in_pieces(name):
    exact, *shapes = APART[name]
    asked, found, whole = pieces_of(exact, drawn(*shapes))
    assert torch.allclose(found, whole, rtol=1e-12)
    assert max(shape.numel() for shape in asked) < whole.numel()


@pytest.mark.parametrize("name", TOGETHER)
def test_rows_that_have_to_do_with_each_other_are_made_at_once(name):
    exact, *shapes = TOGETHER[name]
    assert pieces_of(exact, drawn(*shapes)) is None


def test_the_author_says_what_is_cut_and_a_wrong_word_is_told():
    inputs = drawn((N, N), (N, N))
    asked, _, _ = pieces_of(lambda a, b: a.double() @ b.double(), inputs, rows=(0,))
    assert len(asked) == N  # no trial
    assert pieces_of(lambda x: x.double().relu(), inputs[:1], rows=()) is None
    with pytest.raises(UsageError, match=r"returned shape \(24, 1\) for 1 of its 24 rows, where \(1, 24\) belongs"):
        pieces_of(lambda x: x.double().T.contiguous(), inputs[:1], rows=(0,))


def tried(exact, count, **how):
    """Of so many draws, for each the number of calls to find out how the exact answer is cut, and whether it was."""
    generator = torch.Generator().manual_seed(5)
    calls = []

    def counted(x):
        calls.append(len(x))
        return exact(x)

    problem, like, found = problem_of(counted, (), **how), torch.empty(N, 8), []
    for number in range(count):
        inputs = (torch.randn(N, 8, generator=generator) * number,)  # the first are zeros
        calls.clear()
        made = exact_by_rows(problem, inputs, like)
        found.append((sum(rows != 1 for rows in calls), made is not None))
    return found


def test_how_an_answer_is_cut_is_tried_on_the_first_draws_alone():
    """A trial on few and large rows costs as much as the answer does."""
    first, second, third, *later = tried(lambda x: x.double().relu(), 6)
    assert first == second == third
    assert first[0] == 3
    assert later == [(0, True)] * 3
    halves = tried(lambda x: x.double() - x.double().mean(0), 6)
    assert [cut for _, cut in halves] == [True] + [False] * 5  # zeros do not show it, and the next draw does
    assert [calls for calls, _ in halves[2:]] == [0] * 4


def test_of_16_bits_the_exact_answer_is_kept_in_32():
    _, found, whole = pieces_of(lambda x: x.double().sin(), drawn((N, 8), dtype=torch.float16))
    assert found.dtype is torch.float32
    assert torch.equal(found, whole.float())


def test_a_right_reference_is_not_accused_where_only_many_rows_have_to_do_with_each_other():
    def doubled(x):
        return x.double() * (2 if len(x) > N // 2 else 1)

    problem = problem_of(doubled, drawn((N, 8)))
    arm = bind("reference", problem.reference, {})
    found = check(HostDevice(), problem, bind("candidate", lambda x: x * 2, {}), arm, None, 0)
    assert found.verdict is Verdict.PASS


class OnGpu(torch.Tensor):
    """A tensor of the host that says it is on a GPU."""

    device = torch.device("cuda:0")


def test_an_exact_answer_makes_room_for_the_reference():
    """Out of memory once and once more: it comes back in a smaller type, or stays in the host's memory."""
    exact = drawn((N, 8), dtype=torch.float64)[0]
    failures = []

    def call():
        if failures:
            raise failures.pop()
        return "answer"

    for times in (1, 2):
        failures += [torch.OutOfMemoryError("CUDA out of memory")] * times
        outputs = {"output": exact.as_subclass(OnGpu)}
        assert problem_calls._with_room(call, outputs, exact.half()) == "answer"
        assert outputs["output"].dtype is torch.float32
        assert torch.equal(outputs["output"], exact.float())
    failures.append(torch.OutOfMemoryError("out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        problem_calls._with_room(call, {"output": exact}, exact.half())

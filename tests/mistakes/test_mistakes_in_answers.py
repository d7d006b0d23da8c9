"""Answers that are none, and wrong ones whose cause can be told: what happened, and what to do."""

from __future__ import annotations

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401


@pytest.mark.parametrize(
    ("answer", "happened", "todo"),
    [
        ("None", "The candidate returned nothing.", "Return a tensor of shape (64, 64) and dtype torch.float32."),
        ("[None for _ in [x.relu_()]][0]", "The candidate changed its input 0.", "mutates=(0,)"),
        ("3.0", "The candidate returned a float, not a tensor.", "or an array that supports DLPack. again"),
        ("torch.relu(x), x", "The candidate returned a tuple, not a tensor.", "inputs: kernel(*inputs)[0]`. again"),
        ("{'n': 3, 'y': x.relu()}", "The candidate returned a dict, not a tensor.", "kernel(*inputs)['y']`. again"),
        ("x.relu().tolist()", "The candidate returned a list, not a tensor.", "an array that supports DLPack. again"),
        ("(one for one in x)", "The candidate returned a generator, not a tensor.", "has a `yield`: let it return."),
        (
            "torch.relu(x)[1:]",
            "output has shape (63, 64), but the problem asks for (64, 64).",
            "a tensor of shape (64, 64)",
        ),
        (
            "torch.relu(x).half()",
            "output has dtype torch.float16, but the problem asks for torch.float32.",
            "dtype torch.float32.",
        ),
        ("x.relu().to('meta')", "output has device meta, but the problem asks for cpu.", "Return it on cpu."),
        ("x", "The candidate's output shares memory with its input 0.", "Return memory of its own"),
        ("x.relu_()", "The candidate's output shares memory with its input 0.", "`Problem(..., mutates=(0,))`."),
        ("x.mul_(2).relu()", "The candidate changed its input 0.", "Leave the inputs as they are"),
    ],
    ids=[
        "none",
        "none, in place",
        "number",
        "tuple",
        "dict",
        "list",
        "generator",
        "shape",
        "dtype",
        "device",
        "aliasing",
        "in place",
        "changed input",
    ],
)
def test_answer_that_is_none_is_told_what_an_answer_is(play, answer, happened, todo):
    result = play(f"""
    def odd(x):
        return {answer}

    def test_mistake(kbench):
        kbench(odd, RELU)
    """)
    result.failed_once("odd")
    assert result.records[1]["verdict"] == "ERROR"
    result.says(happened, todo)


def test_nan_in_the_output_is_wrong_and_named(play):
    result = play("""
    def broken(x):
        return torch.relu(x) / 0 * 0

    @pytest.mark.allclose(1e-3)
    def test_mistake(kbench):
        kbench(broken, RELU)
    """)
    result.failed_once("broken")
    assert result.records[1]["timing"] is None
    result.says("WRONG: broken", "the output holds NaN or Inf", "Every element is NaN or Inf: look for a division by 0")


def test_candidate_that_is_a_coroutine_is_told_to_be_a_function(play):
    result = play("""
    async def odd(x):
        return torch.relu(x)

    @pytest.mark.filterwarnings("error")
    def test_mistake(kbench):
        kbench(odd, RELU)
    """)
    result.failed_once("odd")
    result.says("The candidate returned a coroutine, not a tensor.", "make it a plain function, without `async`.")


MODULES = """
    from torch import nn

    def linear(*more):
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(64, 64), *more)

    RIGHT = linear()
    WIDE = linear().double()
    LINEAR = Problem("linear", lambda g: (torch.randn(64, 64, generator=g),), RIGHT, lambda x: WIDE(x.double()))
"""


@pytest.mark.parametrize(
    ("candidate", "todo"),
    [
        ("nn.Sequential(nn.Linear(64, 64))", "these have other values: 0.weight, 0.bias. Give it the same: `candidate"),
        ("linear(nn.Dropout(0.5))", "It is in training mode, in which Dropout does something else: call its eval()."),
        ("linear(nn.Dropout(0.5).eval(), nn.Tanh())", "Most elements are wrong"),
    ],
    ids=["weights", "training", "neither"],
)
def test_module_is_told_what_makes_it_wrong_besides_its_code(play, candidate, todo):
    result = play(f"""{MODULES}
    @pytest.mark.allclose(1e-4)
    def test_mistake(kbench):
        kbench({candidate}, LINEAR)
    """)
    result.failed_once("Sequential")
    result.says("WRONG: Sequential", todo)
    assert ("Most elements are wrong" in result.text) == ("Most" in todo)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("inputs=lambda g: None", "The problem's inputs returned nothing."),
        (
            "inputs=lambda g: (torch.randn(64) for _ in '1')",
            "returned a generator, which can be read only once.",
        ),
        ("reference=lambda x: x[1:].relu()", "The problem's exact returned shape (64, 64), its reference (63, 64)."),
    ],
    ids=["nothing", "generator", "reference"],
)
def test_problem_at_fault_blames_no_candidate(play, changed, said):
    result = play(f"""
    import dataclasses

    def test_mistake(kbench):
        kbench(torch.relu, dataclasses.replace(RELU, {changed}))
    """)
    assert result.outcomes["failed"] == 1
    result.says(said)
    assert "The candidate" not in result.text


def test_output_that_is_never_written_is_wrong_and_named(play):
    result = play("""
    def lazy(x, out):
        pass

    @pytest.mark.speedup(0.95)
    def test_mistake(kbench):
        kbench(lazy, RELU)
    """)
    result.failed_once("lazy")
    result.says("WRONG: lazy", "the likeliest cause is an output that is never written")

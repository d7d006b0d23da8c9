"""What an isolated candidate hears of a wrong answer: the same as in process, where its process can say it."""

from __future__ import annotations

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call  # noqa: F401
from pytest_kgate.errors import CandidateError
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.candidate_name import Told

pytestmark = pytest.mark.usefixtures("warm")

GENERATED = """
import torch

def relu(x):
    return torch.relu(x)

def nan(x):
    return x * float("nan")

def silent(x, out):
    pass

def changes(x):
    answer = torch.relu(x)
    x.mul_(2)
    return answer

dropped = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.5))
"""

TESTS = """
import pytest
import torch
from pytest_kgate import Problem

def leaky(x, slope=0.0):
    return torch.nn.functional.leaky_relu(x.double(), slope).to(x.dtype)

@pytest.mark.allclose(1e-3)
def test_it(kbench):
    problem = Problem("leaky", lambda g: (torch.randn(64, generator=g),), leaky, leaky, params=PARAMS)
    kbench("generated.py:FUNCTION", problem)
"""


@pytest.fixture
def hear(pytester, monkeypatch):
    """What a session with this candidate prints, blanks made one."""
    monkeypatch.delenv("TMPDIR", raising=False)

    def run(function, *arguments, params="{}"):
        tests = TESTS.replace("FUNCTION", function).replace("PARAMS", params)
        pytester.makepyfile(generated=GENERATED, test_it=tests)
        result = pytester.runpytest_inprocess("--kgate-device=host", "--kgate-budget=2", *arguments)
        result.assert_outcomes(failed=1)
        return " ".join(result.stdout.str().split())

    return run


@pytest.mark.parametrize("arguments", [[], ["--kgate-isolate"]], ids=["in-process", "isolated"])
@pytest.mark.parametrize(
    ("function", "params", "said"),
    [
        ("relu", "{'slope': 0.5}", "The candidate has no parameter `slope`, so it was called without slope=0.5: add"),
        ("nan", "{}", "Every element is NaN or Inf: look for a division by 0"),
        ("silent", "{}", "Every element is NaN or Inf. `out` is filled with NaN before the call: the likeliest cause"),
        ("changes", "{}", "A problem whose calls change inputs says so: `Problem(..., mutates=(0,))`."),
        ("dropped", "{}", "It is in training mode, in which Dropout does something else: call its eval()."),
    ],
)
def test_hint_is_the_same_in_process_and_isolated(hear, arguments, function, params, said):
    assert said in hear(function, *arguments, params=params)


def test_what_a_process_says_may_be_anything():
    said = {"weights": ["\x1b[2J"], "ignored": {"n": 1}, "training": [1] * 100, "out": {}}
    told = Told.of(said, {"n": 1})
    assert (told.weights, told.ignored_params, told.takes_out) == ("['\\x1b[2J']", (), None)
    assert set(told.training) == {"1"}
    assert len(told.training) < 100
    assert Told.of({"training": "Dropout", "ignored": ["m", "n", []]}, {"n": 1}) == Told(ignored_params=("n",))


@pytest.mark.parametrize(
    ("text", "happened", "todo"),
    [
        ("def f(x)\n    return x", "SyntaxError: ", "Correct its syntax there."),
        (
            "import no_such_module.part",
            "No module named 'no_such_module'",
            "Install what has no_such_module, or put it",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero", "Correct what it does when it is imported."),
    ],
    ids=["syntax", "module", "raises"],
)
def test_file_that_can_not_be_imported_is_told_why(tmp_path, text, happened, todo):
    (tmp_path / "new.py").write_text(text)
    with pytest.raises(CandidateError) as caught:
        CandidateFunction.parse("new.py:f", (tmp_path,)).load()
    assert happened in caught.value.what
    assert caught.value.todo.startswith(todo)

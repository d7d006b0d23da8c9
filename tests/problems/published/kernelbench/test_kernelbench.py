"""Problems from files of KernelBench: inputs by seed, weights alike, the model in float64, and what is refused."""

from __future__ import annotations

import hashlib
import json
import random

import numpy as np
import pytest
import torch
from torch import Generator

from pytest_kgate import Problem
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.candidate_name import load_named
from pytest_kgate.integrity.isolation.process.parent import _environment

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"

LINEAR = """
class Model(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.linear = nn.Linear(n, n)
        self.act = lambda x: torch.relu(self.linear(x))
    def forward(self, x):
        return self.act(x)
n = 16
def get_inputs():
    return [torch.rand(8, n)]
def get_init_inputs():
    return [n]
"""


def model(forward: str, inputs: str, init: str = "pass", arguments: str = "x") -> str:
    return f"""
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}
    def forward(self, {arguments}):
        {forward}
def get_inputs():
    return {inputs}
def get_init_inputs():
    return []
"""


@pytest.fixture
def read(tmp_path):
    def read(text: str, name: str = "1_Some_problem.py") -> Problem:
        path = tmp_path / name
        path.write_text(HEAD + text)
        return Problem.from_kernelbench(path)

    return read


def drawn(problem: Problem, seed: int = 1):
    return problem.inputs(Generator().manual_seed(seed))


def facts(problem: Problem):
    assert problem.published is not None
    return problem.published.to_dict()


def solution(problem: Problem, text: str):
    assert problem.published is not None
    names: dict[str, object] = {}
    exec(HEAD + text, names)
    return problem.published.candidate(names["ModelNew"])


@pytest.mark.parametrize(
    "text",
    [
        LINEAR,  # a function that the constructor made, and that calls its own layers
        model("return torch.min(x, torch.tensor(0.3))", "[torch.rand(8, 16)]"),
        model("return x @ torch.ones(16, 4, dtype=torch.float32)", "[torch.rand(8, 16)]"),
        model("return x.float() @ self.table", "[torch.rand(8, 16)]", "self.table = torch.randn(16, 4)"),
        model("return self.norm(x)", "[torch.rand(8, 16)]", "self.norm = nn.BatchNorm1d(16)"),
        model("return torch.cumsum(x * mask, 1)", "[torch.rand(8, 16), torch.rand(8, 16) > 0.5]", arguments="x, mask"),
        model(
            "return F.cross_entropy(x, target)",
            "[torch.rand(8, 16), torch.randint(0, 16, (8,))]",
            arguments="x, target",
        ),
        model(
            "self.hidden.copy_(h); self.hidden = torch.tanh(self.hidden + x); return self.hidden * 1",
            "[torch.rand(8, 16), torch.rand(8, 16)]",
            "self.hidden = torch.zeros(8, 16)",
            "x, h",
        ),
        model("return torch.relu_(self.linear(x))", "[torch.rand(8, 16)]", "self.linear = nn.Linear(16, 4)"),
        model("return self.drop(x)", "[torch.rand(8, 16)]", "self.drop = nn.Dropout(0.0)"),
    ],
    ids=["closure", "constant", "dtype", "float", "batch-norm", "mask", "targets", "state", "in-place", "no-dropout"],
)
def test_exact_answer_is_the_model_in_float64(read, text):
    problem = read(text)
    inputs = drawn(problem)
    reference, exact = problem.reference(*inputs), problem.exact(*inputs)
    assert facts(problem)["exact"] == "float64"
    assert exact.dtype is torch.float64
    assert torch.allclose(reference.double(), exact, rtol=1e-5, atol=1e-6)
    assert torch.get_default_dtype() is torch.float32
    assert not reference.requires_grad


def test_argmax_stays_an_integer(read):
    problem = read(model("return torch.argmax(x, 1)", "[torch.rand(8, 16)]"))
    inputs = drawn(problem)
    assert torch.equal(problem.reference(*inputs), problem.exact(*inputs))


def test_what_can_not_run_in_float64_is_exact_in_its_own_type_and_says_so(read):
    refuses = "if x.dtype is not torch.float32: raise TypeError('no float64')"
    problem = read(model(f"{refuses}\n        return torch.relu(x)", "[torch.rand(8, 16)]"))
    inputs = drawn(problem)
    assert problem.exact(*inputs).dtype is torch.float32
    assert facts(problem)["exact"] == "float32 without TF32: in float64 it raises TypeError: no float64"


def test_inputs_follow_from_the_seed_and_leave_global_generators_as_they_were(read):
    problem = read(model("return x", "[torch.rand(8, 16)]"))
    torch.manual_seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, again, other = (drawn(problem, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def test_a_number_among_the_inputs_is_a_constant(read):
    problem = read(model("return x * s", "[3.14, torch.rand(8, 16)]", arguments="s, x"))
    inputs = drawn(problem)
    assert [one.shape for one in inputs] == [(8, 16)]
    assert torch.equal(problem.reference(*inputs), inputs[0] * 3.14)
    assert torch.equal(problem.published.copy()(*inputs), inputs[0] * 3.14)


def test_hard_inputs_show_a_missing_relu(read):
    problem = read(model("return torch.relu(x)", "[torch.rand(8, 16)]"))
    (hard,) = problem.hard_inputs(Generator().manual_seed(1))
    assert (hard < 0).any()
    assert (hard > 6).any()
    assert facts(problem)["hard_scale"] == 8.0


def test_first_hard_draw_is_what_its_seed_draws_later(read):
    problem = read(model("return torch.relu(x)", "[torch.rand(8, 16)]"))
    first, later = (problem.hard_inputs(Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first[0], later[0])


@pytest.mark.parametrize("shape", ["torch.tril(a)", "(a + a.T) / 2", "torch.diag(a[0])"])
def test_hard_inputs_keep_what_kind_of_matrix_it_is(read, shape):
    problem = read("a = torch.rand(8, 8)\n" + model("return x @ x", f"[{shape}]"))
    (published,), (hard,) = drawn(problem), problem.hard_inputs(Generator().manual_seed(1))
    assert torch.equal(published == 0, hard == 0)
    assert torch.equal(published == published.T, hard == hard.T)
    assert not torch.equal(published, hard)


@pytest.mark.parametrize(
    "inputs", ["torch.rand(8, 16).softmax(1)", "torch.randint(0, 2, (8,)).float() * 2 - 1", "torch.rand(8, 16) > 0.5"]
)
def test_hard_inputs_leave_probabilities_labels_and_masks(read, inputs):
    problem = read(model("return x * 1", f"[{inputs}]"))
    (hard,) = problem.hard_inputs(Generator().manual_seed(1))
    assert set(hard.flatten().tolist()) <= {-1.0, 0.0, 1.0} or torch.allclose(hard.sum(1), torch.ones(8))


def test_hard_inputs_are_the_published_ones_where_the_model_has_no_answer_to_others(read):
    problem = read(model("return torch.log(x)", "[torch.rand(8, 16)]"))
    assert (problem.hard_inputs(Generator().manual_seed(1))[0] >= 0).all()
    assert facts(problem)["hard_scale"] == 0


NEW = """
class ModelNew(nn.Module):
    def __init__(self, n):
        super().__init__()
        {init}
    def forward(self, x):
        {forward}
"""


@pytest.mark.parametrize(
    ("init", "forward", "told"),
    [
        ("self.linear = nn.Linear(n, n)", "return torch.relu(self.linear(x))", "2 of 2 copied by name"),
        ("torch.rand(3); self.linear = nn.Linear(n, n)", "return torch.relu(self.linear(x))", "2 of 2 copied by name"),
        (
            "self.other = nn.Linear(n, n)",
            "return torch.relu(self.other(x))",
            "0 of 2 copied by name, the others from seed 42: other.weight (linear.weight in Model), other.bias "
            "(linear.bias in Model)",
        ),
        (
            "self.whole = nn.Linear(n, n); self.linear = nn.Linear(n, n, bias=False)",
            "return torch.relu(self.whole(x))",
            "1 of 3 copied by name, the others from seed 42: whole.weight (16, 16), whole.bias (16,); Model has "
            "linear.bias (16,)",
        ),
        ("self.f = (nn.Linear(n, n),)", "return torch.relu(self.f[0](x))", "no weights with a name, from seed 42"),
    ],
    ids=["same-names", "draws-before", "other-names", "other-parts", "no-names"],
)
def test_a_solution_has_the_weights_of_the_model(read, init, forward, told):
    problem = read(LINEAR)
    candidate = solution(problem, NEW.format(init=init, forward=forward))
    inputs = drawn(problem)
    assert torch.equal(candidate(*inputs), problem.reference(*inputs))
    assert candidate.weights == told


@pytest.mark.parametrize(
    ("init", "forward"),
    [
        ("self.drop = nn.Dropout(0.5)", "return self.drop(x)"),
        ("self.calls = 0", "self.calls += 1; return x * self.calls"),
    ],
    ids=["dropout", "counts-calls"],
)
def test_a_model_whose_answer_changes_from_call_to_call_is_refused(read, init, forward):
    problem = read(model(forward, "[torch.rand(64, 64)]", init))
    inputs = drawn(problem)
    with pytest.raises(UsageError, match="changes from call to call"):
        problem.exact(*inputs)


@pytest.mark.parametrize(
    ("init", "forward", "keeps"),
    [
        ("self.hidden = torch.zeros(8, 8)", "self.hidden = torch.tanh(x); return self.hidden * 2", True),
        ("pass", "self.latest = x * 2; return self.latest", True),
        ("self.norm = nn.BatchNorm1d(8)", "return self.norm(x)", False),
        ("self.scale = torch.ones(8)", "return x * self.scale", False),
    ],
    ids=["hidden-state", "latest-answer", "statistics", "constant"],
)
def test_a_model_that_keeps_tensors_is_not_captured_in_a_graph(read, monkeypatch, init, forward, keeps):
    """Its graphs would write to memory that has been given to others since: a copy of the model looked wrong."""
    problem = read(model(forward, "[torch.rand(8, 8)]", init))
    inputs = drawn(problem)
    answer = problem.reference(*inputs)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    if keeps:
        with pytest.raises(RuntimeError, match="keeps tensors from call to call"):
            problem.reference(*inputs)
    else:
        assert torch.equal(problem.reference(*inputs), answer)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n", "does not define Model, get_inputs, get_init_inputs"),
        ("import not_a_module\n", "ModuleNotFoundError"),
        (LINEAR.replace("return [torch.rand(8, n)]", "return torch.rand(8, n)"), "returned Tensor, not a list"),
    ],
    ids=["nothing", "import", "no-list"],
)
def test_a_file_that_is_no_problem_is_one_sentence(read, text, told):
    with pytest.raises(UsageError, match=told):
        drawn(read(text))


def test_the_record_knows_the_file_by_name_and_hash(read, tmp_path):
    problem = read(LINEAR)
    assert problem.name == "1_Some_problem"
    digest = hashlib.sha256((tmp_path / "1_Some_problem.py").read_bytes()).hexdigest()
    assert (facts(problem)["file"], facts(problem)["sha256"]) == ("1_Some_problem.py", digest)


def test_an_isolated_solution_is_made_anew_with_the_same_weights_and_constants(read, tmp_path):
    text = LINEAR.replace("forward(self, x)", "forward(self, s, x)").replace("self.act(x)", "self.act(x) * s")
    problem = read(text.replace("[torch.rand", "[3.14, torch.rand"))
    (tmp_path / "new.py").write_text(HEAD + text.replace("class Model", "class ModelNew"))
    inputs = drawn(problem)
    named = CandidateFunction(str(tmp_path / "new.py"), "ModelNew", problem.published)
    other = load_named(json.loads(json.dumps(named.to_dict())))
    assert torch.equal(other(*inputs), problem.reference(*inputs))


def test_an_isolated_solution_compiles_in_line_code_in_its_own_folder(tmp_path):
    assert _environment(str(tmp_path))["TORCH_EXTENSIONS_DIR"].startswith(str(tmp_path))

"""Task folders: data by our seeds, outputs handed in, the task's own checks, imports by bare names."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from checked import failure
from published_samples import REFERENCE
from published_samples import TWICE
from published_samples import drawn
from torch import Generator

from pytest_kgate import Problem
from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import recipe_of
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.candidate_name import load_named

pytest.importorskip("yaml")


def facts(problem: Problem):
    assert problem.published is not None
    return problem.published.to_dict()


def test_data_follow_from_our_seeds_and_have_no_outputs_in_them(folder):
    problem = Problem.from_task_folder(folder())
    ((x, out),) = drawn(problem)
    assert (x.shape, out) == ((32, 32), None)
    assert torch.equal(x, drawn(problem)[0][0])
    assert not torch.equal(x, drawn(problem, 2)[0][0])
    published = torch.randn(32, 32, generator=Generator().manual_seed(13))
    assert not torch.equal(x, published)
    assert facts(problem)["handed_in"] == 1


def test_exact_answer_is_the_reference_in_float64(folder):
    problem = Problem.from_task_folder(folder(), "tests:1")
    inputs = drawn(problem)
    exact = problem.exact(*inputs)
    assert exact.dtype is torch.float64
    assert torch.allclose(exact, inputs[0][0].double().sin() * 2)
    assert facts(problem)["exact"] == "float64"


@pytest.mark.parametrize(
    ("case", "size"),
    [("tests:0", 8), ("tests:1", 16), ("benchmarks:0", 32), ({"size": 5}, 5), ({"size": 5, "seed": 1}, 5)],
)
def test_a_case_is_chosen(folder, case, size):
    problem = Problem.from_task_folder(folder(), case)
    assert drawn(problem)[0][0].shape == (size, size)
    assert problem.name == f"twice_py size={size}"


def test_no_module_of_a_task_is_left_in_the_way_of_others(folder):
    reference = TWICE.replace("    x, out = data\n", "    import utils\n    x, out = data\n")
    names = {"utils", "task", "reference"}
    before = names & set(sys.modules)
    first = Problem.from_task_folder(folder(reference))
    second = Problem.from_task_folder(folder(reference.replace("* 2", "* 3"), name="thrice_py"))
    inputs = drawn(first)
    drawn(second)
    assert torch.allclose(first.reference(*inputs) * 1.5, second.reference(*inputs))
    assert names & set(sys.modules) == before


def test_a_clean_process_makes_the_same_problem_of_data(folder):
    problem = Problem.from_task_folder(folder(TWICE + OWN))
    inputs = drawn(problem)
    again = rebuilt(json.loads(json.dumps(recipe_of(problem, None, frozenset()))))
    assert torch.equal(drawn(again)[0][0], inputs[0][0])
    answer = again.reference(*inputs)
    assert torch.equal(answer, problem.reference(*inputs))
    assert again.equal is not None
    assert again.equal(answer + 1, answer, *inputs).endswith("rows have other sums")


SUBMISSION = """
from task import input_t
import torch
def custom_kernel(data: input_t) -> torch.Tensor:
    import utils  # is found in a call, too
    x, out = data
    return torch.sin(x, out=out).mul_(2)
def nothing(data):
    torch.mul(torch.sin(data[0]), 2, out=data[1])
def returns(data):
    return torch.sin(data[0]) * 2
def left_unwritten(data):
    return data[1]
def wrong(data):
    return data[1].copy_(data[0])
"""


@pytest.mark.parametrize("isolated", [False, True], ids=["here", "anew"])
@pytest.mark.parametrize("name", ["custom_kernel", "nothing", "returns"])
def test_submissions_write_to_what_they_are_handed_or_return_their_own(folder, tmp_path, name, isolated):
    problem = Problem.from_task_folder(folder())
    inputs = drawn(problem)
    (tmp_path / "new.py").write_text(SUBMISSION)
    named = CandidateFunction(str(tmp_path / "new.py"), name, problem.published)
    called = load_named(json.loads(json.dumps(named.to_dict()))) if isolated else named.load()
    assert torch.equal(called(*inputs), problem.reference(*inputs))


def test_a_submission_with_a_name_of_the_tasks_is_not_taken_for_its_module(folder, tmp_path):
    late = TWICE.replace("    x, out = data\n", "    from utils import verbose_allclose\n    x, out = data\n")
    problem = Problem.from_task_folder(folder(late))
    inputs = drawn(problem)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "utils.py").write_text("def custom_kernel(data):\n    return data[0]\n")
    CandidateFunction(str(tmp_path / "new" / "utils.py"), "custom_kernel", problem.published).load()
    assert torch.equal(problem.reference(*inputs), torch.sin(inputs[0][0]) * 2)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("custom_kernel", False), ("nothing", False), ("returns", False), ("left_unwritten", True), ("wrong", True)],
)
def test_wrong_submissions_are_wrong_and_right_ones_are_not(folder, tmp_path, name, wrong):
    problem = Problem.from_task_folder(folder())
    (tmp_path / "new.py").write_text(SUBMISSION)
    called = CandidateFunction(str(tmp_path / "new.py"), name, problem.published).load()
    assert (failure(called, problem) is not None) is wrong


@pytest.mark.parametrize(
    ("tolerance", "told", "kept"),
    [
        (", rtol=1e-2, atol=2e-2", "match_reference rtol=0.01 atol=0.02", ["float32", "float64"]),
        ("", "match_reference rtol=1e-05 atol=1e-08", ["float64"]),
    ],
    ids=["its-own", "finer-than-the-type"],
)
def test_tolerances_of_the_usual_check_are_taken_where_the_type_resolves_them(folder, tolerance, told, kept):
    """The default, 1e-8 beside 1e-5, is missed by every other order of sums: the reference's error stands for it."""
    problem = Problem.from_task_folder(folder(REFERENCE.format(tolerance=tolerance)))
    assert facts(problem)["check"] == told
    assert sorted(problem.tolerance) == kept


OWN = """
def check_implementation(data, output):
    x, out = data
    if output.shape != x.shape:
        return False, "not of the right shape"
    good = bool((output.sum(1) - x.sum(1)).abs().max() < 1e-3)
    return good, "" if good else "rows have other sums"
"""


def test_a_check_of_the_tasks_own_judges(folder):
    text = TWICE.replace("torch.sin(x) * 2", "x.sort(1).values")
    problem = Problem.from_task_folder(folder(text + OWN))
    assert facts(problem)["check"] == "check_implementation"
    assert problem.equal is not None
    inputs = drawn(problem)
    exact = problem.exact(*inputs)
    assert problem.equal(inputs[0][0].flip(1), exact, *inputs) == ""
    assert problem.equal(inputs[0][0] + 1, exact, *inputs).endswith("rows have other sums")
    assert failure(lambda data: data[0].flip(1), problem) is None
    assert failure(lambda data: data[0] * 1.1, problem) is not None


def test_memory_that_is_zero_is_zero_again_in_each_call(folder):
    text = TWICE.replace("torch.empty(", "torch.zeros(")
    problem = Problem.from_task_folder(folder(text))

    def adds(data):
        return data[1].add_(torch.sin(data[0]) * 2)

    assert failure(adds, problem) is None


def test_a_task_that_works_in_place_is_checked_by_its_new_data(folder):
    text = TWICE.replace("x, out = data", "x, rest = data; out = x")
    text = text.replace("torch.empty(size, size", "torch.ones(size, size").replace("return out", "return None")
    unsaid = Problem.from_task_folder(folder(text))
    with pytest.raises(UsageError, match="ref_kernel of twice_py changes its data"):
        unsaid.reference(*drawn(unsaid))
    problem = Problem.from_task_folder(folder(text), in_place=True)

    def halves(data):
        data[0].copy_(torch.sin(data[0]))

    assert failure(lambda data: data[0].sin_().mul_(2), problem) is None
    assert failure(halves, problem) is not None


def test_arguments_may_be_lists_and_data_a_dict(folder):
    text = """
import torch
from utils import make_match_reference
def generate_input(shape, kind, seed):
    torch.manual_seed(seed)
    return {"x": torch.rand(*shape).cuda(), "kind": kind, "rest": [torch.ones(3, device="cuda")]}
def ref_kernel(data):
    return data["x"] + data["rest"][0], data["x"].argmax()
check_implementation = make_match_reference(ref_kernel)
"""
    problem = Problem.from_task_folder(folder(text), {"shape": [4, 3], "kind": "plain"})
    (data,) = drawn(problem)
    assert (data["x"].shape, data["kind"], data["x"].device.type) == ((4, 3), "plain", "cpu")
    assert failure(lambda data: (data["x"] + 1, data["x"].argmax()), problem) is None

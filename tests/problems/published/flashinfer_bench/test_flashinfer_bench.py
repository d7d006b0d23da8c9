"""Problems of flashinfer-bench: inputs by seed or from files, outputs returned or handed in."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from checked import failure
from published_samples import DEFINITION
from published_samples import RUN
from published_samples import WORKLOAD
from published_samples import changed
from published_samples import drawn
from published_samples import problem
from torch import Generator

from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import recipe_of
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.candidate_name import load_named


def returns(x, weight, scale):
    y = x.float() * weight.float() * scale
    return y.to(x.dtype), y.logsumexp(-1)


def by_name(x, weight, scale):
    y, lse = returns(x, weight, scale)
    return {"lse": lse, "y": y}


def writes(x, weight, scale, y, lse):
    for made, value in zip((y, lse), returns(x, weight, scale), strict=True):
        made.copy_(value)


def writes_nothing(x, weight, scale, y, lse):
    pass


def test_inputs_follow_from_the_seed_and_numbers_are_as_they_are():
    x, weight, scale = drawn(problem())
    assert (x.shape, x.dtype, weight.shape, scale) == ((4, 16), torch.bfloat16, (16,), 0.5)
    again, other = drawn(problem()), drawn(problem(), 2)
    assert torch.equal(x, again[0])
    assert not torch.equal(x, other[0])


def test_exact_answer_is_the_reference_in_float64():
    found = problem()
    inputs = drawn(found)
    y, lse = found.exact(*inputs)
    assert (y.dtype, lse.dtype) == (torch.float64, torch.float64)
    assert torch.allclose(y, inputs[0].double() * inputs[1].double() * 0.5)
    assert found.published.to_dict()["exact"] == "float64"


def test_a_reference_that_demands_its_types_is_exact_in_those_and_says_so():
    found = problem(
        changed(DEFINITION, reference=RUN.replace("assert width", "assert x.dtype == torch.bfloat16, width"))
    )
    assert found.exact(*drawn(found))[0].dtype is torch.bfloat16
    assert found.published.to_dict()["exact"].startswith("bfloat16 without TF32: in float64 it raises AssertionError")


@pytest.mark.parametrize("function", [returns, by_name, writes], ids=["returned", "dict", "handed-in"])
def test_outputs_are_returned_or_handed_in(function):
    found = problem()
    inputs = drawn(found)
    for own, right in zip(found.published.candidate(function)(*inputs), found.reference(*inputs), strict=True):
        assert torch.equal(own, right)


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (returns, False),
        (writes, False),
        (writes_nothing, True),
        (lambda x, weight, scale: returns(x, weight, 1.05 * scale), True),
        (lambda x, weight, scale: returns(x, weight.abs(), scale), True),
    ],
    ids=["returned", "handed-in", "writes-nothing", "wrong-scale", "wrong-sign"],
)
def test_wrong_functions_are_wrong_and_right_ones_are_not(function, wrong):
    assert (failure(function, problem()) is not None) is wrong


def test_a_clean_process_makes_the_same_problem_of_data():
    found = problem()
    inputs = drawn(found)
    hard = found.hard_inputs(Generator().manual_seed(1))
    again = rebuilt(json.loads(json.dumps(recipe_of(found, None, frozenset()))))
    assert torch.equal(drawn(again)[0], inputs[0])
    assert torch.equal(again.hard_inputs(Generator().manual_seed(1))[0], hard[0])
    assert torch.equal(again.exact(*inputs)[0], found.exact(*inputs)[0])


def test_random_numbers_of_all_types_are_drawn():
    names = ["float32", "float16", "float8_e4m3fn", "float8_e5m2", "int64", "int32", "int16", "int8", "bool"]
    inputs = {name: {"shape": ["rows"], "dtype": name} for name in names}
    definition = {
        **changed(DEFINITION, constraints=...),
        "inputs": {**inputs, "n": {"shape": None, "dtype": "int32"}},
        "reference": f"def run({', '.join(names)}, n):\n    return float32 * n, float32 + int64",
        "axes": {"rows": {"type": "var"}, "width": {"type": "var"}},
    }
    workload = {"uuid": "1", "axes": {"rows": 64, "width": 3}, "inputs": {}}
    found = problem(definition, workload)
    first, second = drawn(found, 1), drawn(found, 2)
    for name, one, other in zip(names, first, second, strict=False):
        assert one.dtype is getattr(torch, name)
        assert not torch.equal(one.float(), other.float())
    assert first[-1] == second[-1]  # captured launches could not be given another
    assert isinstance(first[-1], int)


def test_harder_draws_keep_what_was_recorded(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    (tmp_path / "workloads" / "scaled").mkdir(parents=True)
    weight = torch.rand(16, generator=Generator().manual_seed(1)).bfloat16()
    save_file({"w": weight}, tmp_path / "weights.safetensors")
    recorded = {"type": "safetensors", "path": "./weights.safetensors", "tensor_key": "w"}
    file = tmp_path / "workloads" / "scaled" / "scaled_w16.jsonl"
    file.write_text(json.dumps(changed(WORKLOAD, workload__inputs__weight=recorded)) + "\n")
    found = problem(workload=file)
    assert torch.equal(drawn(found)[1], weight)
    x, hard_weight, _ = found.hard_inputs(Generator().manual_seed(1))
    assert torch.equal(hard_weight, weight)
    assert x.abs().max() > 2 * drawn(found)[0].abs().max()


def test_one_of_several_workloads_is_chosen_by_place_or_uuid(tmp_path):
    file = tmp_path / "workloads.jsonl"
    lines = [
        changed(WORKLOAD, workload__uuid=f"{name}-0", workload__axes__rows=2 * rows)
        for rows, name in enumerate(("aa", "ab", "cc"), 1)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    rows = [drawn(problem(workload=file, case=case))[0].shape[0] for case in (0, "2", "ab")]
    assert rows == [2, 6, 4]
    for case, told in (("a", "2 workloads whose uuid begins with a"), (3, "no workload 3"), ("x", "no workload whose")):
        with pytest.raises(UsageError, match=told):
            problem(workload=file, case=case)


SOLUTION = {
    "name": "scaled_by_us",
    "definition": "scaled_w16",
    "author": "us",
    "spec": {"language": "python", "target_hardware": ["cpu"], "entry_point": "main.py::run"},
    "sources": [
        {
            "path": "main.py",
            "content": "from inner import into\ndef run(*tensors):\n    into(*tensors)\n",
        },
        {
            "path": "inner.py",
            "content": "def into(x, w, s, y, lse):\n    z = x.float() * w.float() * s\n    y.copy_(z)\n"
            "    lse.copy_(z.logsumexp(-1))\n",
        },
    ],
}


def solution(folder, found, document) -> CandidateFunction:
    (folder / "solution.json").write_text(json.dumps(document))
    return CandidateFunction(str(folder / "solution.json"), found.published.entry, found.published)


@pytest.mark.parametrize("isolated", [False, True], ids=["here", "anew"])
def test_a_solution_of_several_sources_is_called_as_it_says(tmp_path, isolated):
    found = problem()
    inputs = drawn(found)
    named = solution(tmp_path, found, SOLUTION)
    called = load_named(json.loads(json.dumps(named.to_dict()))) if isolated else named.load()
    assert called.name == "scaled_by_us"
    for own, right in zip(called(*inputs), found.reference(*inputs), strict=True):
        assert torch.equal(own, right)
    assert not {"main", "inner"} & set(sys.modules)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spec__language": "cuda"}, "is written in cuda, which is not built here"),
        ({"spec__entry_point": "main.py::start"}, "has no function start in main.py"),
        ({"spec__entry_point": "other.py::run"}, "is in none of its sources"),
        ({"definition": "other"}, "is of other, not of scaled_w16"),
        ({"spec": ...}, "it has no spec"),
        ({"sources": [{"path": "../main.py", "content": "x"}]}, 'its path is "../main.py"'),
        ({"sources": [{"path": "main.py", "content": "import nothing_of_this_name"}]}, "No module named"),
    ],
    ids=["cuda", "no-function", "no-source", "other-definition", "no-spec", "path", "import"],
)
def test_a_solution_that_can_not_be_called_is_one_sentence(tmp_path, changes, told):
    named = solution(tmp_path, problem(), changed(SOLUTION, **changes))
    with pytest.raises((CandidateError, UsageError), match=told):
        named.load()

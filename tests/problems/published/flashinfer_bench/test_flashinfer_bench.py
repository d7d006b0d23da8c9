"""Problems of flashinfer-bench: inputs by seed or from files, outputs returned or handed in, and what is refused."""

from __future__ import annotations

import copy
import json
import sys

import pytest
import torch
from checked import failure
from torch import Generator

from pytest_kgate import Problem
from pytest_kgate.bench.processes.clean.problem.rebuild import rebuilt
from pytest_kgate.bench.processes.clean.problem.recipe import recipe_of
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.candidate_name import load_named

RUN = """
import torch

@torch.no_grad()
def run(x, weight, scale):
    rows, width = x.shape
    assert width == 16
    y = x.to(torch.float32) * weight.to(torch.float32) * scale
    return y.to(x.dtype), torch.logsumexp(y, dim=-1)
"""

DEFINITION = {
    "name": "scaled_w16",
    "op_type": "scaled",
    "axes": {"rows": {"type": "var"}, "width": {"type": "const", "value": 16}},
    "constraints": ["rows % 2 == 0", "weight.shape[0] == width"],
    "inputs": {
        "x": {"shape": ["rows", "width"], "dtype": "bfloat16"},
        "weight": {"shape": ["width"], "dtype": "bfloat16"},
        "scale": {"shape": None, "dtype": "float32"},
    },
    "outputs": {
        "y": {"shape": ["rows", "width"], "dtype": "bfloat16"},
        "lse": {"shape": ["rows"], "dtype": "float32"},
    },
    "reference": RUN,
}

WORKLOAD = {
    "definition": "scaled_w16",
    "solution": None,
    "workload": {
        "uuid": "5ca1ab1e-0000",
        "axes": {"rows": 4},
        "inputs": {"x": {"type": "random"}, "weight": {"type": "random"}, "scale": {"type": "scalar", "value": 0.5}},
    },
    "evaluation": None,
}


def changed(document, **values):
    """A copy with other values, by their paths: `inputs__x__dtype`; those that are `...` are left out."""
    found = copy.deepcopy(document)
    for path, value in values.items():
        *folders, name = path.split("__")
        inner = found
        for folder in folders:
            inner = inner[folder]
        if value is ...:
            del inner[name]
        else:
            inner[name] = value
    return found


def problem(definition=DEFINITION, workload=WORKLOAD, **more) -> Problem:
    return Problem.from_flashinfer_bench(definition, workload, **more)


def drawn(found: Problem, seed: int = 1):
    return found.inputs(Generator().manual_seed(seed))


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


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reference": ...}, "it has no reference"),
        ({"axes": [1]}, "it is list, where a table"),
        ({"axes__rows__type": "dynamic"}, 'its type is "dynamic"'),
        ({"axes__width__value": ...}, "it has no value"),
        ({"axes__width__value": "16"}, "its value is '16'"),
        ({"inputs__x__dtype": "float15"}, 'x in inputs of The definition .* its dtype is "float15"'),
        ({"inputs__x__shape": ["rows", "depth"]}, "its axis 'depth' is not among the axes"),
        ({"inputs__x__shape": 4}, "its shape is 4"),
        ({"outputs__x": {"shape": None, "dtype": "bool"}}, "x is both an input and an output"),
        ({"reference": "def go(x):\n    return x"}, "its reference does not define run"),
        ({"reference": "def run(x:"}, "its reference is no Python"),
        ({"reference": "import nothing_of_this_name\ndef run(x): pass"}, "can't be imported: ModuleNotFoundError"),
        ({"constraints": ["rows =="]}, "is no expression"),
        ({"outputs": {}}, "its outputs are empty"),
        (
            {"reference": "def run(x, weight): return x"},
            r"can't be called with the definition's inputs \(x, weight, scale",
        ),
        ({"name": ""}, "its name is ''"),
        ({"inputs__x__shape": [["rows"], "width"]}, r"its axis \['rows'\] is not among the axes"),
        ({"reference": "raise SystemExit" + RUN}, "can't be imported: SystemExit"),
    ],
)
def test_a_definition_that_is_none_is_one_sentence(changes, told):
    with pytest.raises(UsageError, match=told) as raised:
        problem(changed(DEFINITION, **changes))
    assert "\n" not in raised.value.what


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"axes": {}}, "it gives no extent to rows"),
        ({"axes__columns": 3}, "scaled_w16 has no axis columns"),
        ({"axes__width": 17}, "its axis width is 17"),
        ({"axes__rows": 2.5}, "its axis rows is 2.5"),
        ({"inputs__z": {"type": "random"}}, "scaled_w16 has no input z"),
        ({"inputs__x__type": "randn"}, 'its type is "randn"'),
        ({"inputs__x": {"type": "scalar", "value": 1}}, "its type is scalar, and x is a tensor"),
        ({"inputs__scale__value": "half"}, "its value is 'half'"),
        ({"inputs__scale": {"type": "scalar"}}, "it has no value"),
        ({"inputs__x": {"type": "safetensors", "path": "x.safetensors"}}, "it has no tensor_key"),
        ({"inputs__x": {"type": "safetensors", "path": "none", "tensor_key": "x"}}, "There is no file .*none, which"),
        ({"inputs__x": {"type": "safetensors", "path": 3, "tensor_key": "x"}}, "its path is 3"),
        ({"axes__rows": 3}, "The constraint rows % 2 == 0 of scaled_w16 does not hold"),
    ],
)
def test_a_workload_that_does_not_fit_is_one_sentence(changes, told):
    inner = changed(WORKLOAD["workload"], **changes)
    with pytest.raises(UsageError, match=told):
        drawn(problem(workload={**WORKLOAD, "workload": inner}))


def test_a_reference_that_returns_other_than_its_definition_says_is_one_sentence():
    """What is handed in has the definition's types: right solutions were of a wrong type."""
    found = problem(changed(DEFINITION, outputs__y__dtype="float16"))
    with pytest.raises(UsageError, match=r"returned y as torch.bfloat16 of \(4, 16\), and the definition says"):
        found.reference(*drawn(found))


def test_a_recorded_input_of_another_shape_is_one_sentence(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file({"x": torch.zeros(3, 16).bfloat16()}, tmp_path / "x.safetensors")
    recorded = {"type": "safetensors", "path": "x.safetensors", "tensor_key": "x"}
    with pytest.raises(UsageError, match=r"x in .* is torch.bfloat16 of \(3, 16\), and x of the workload"):
        problem(workload=changed(WORKLOAD, workload__inputs__x=recorded), root=tmp_path)
    recorded["tensor_key"] = "y"
    with pytest.raises(UsageError, match="has no tensor y"):
        problem(workload=changed(WORKLOAD, workload__inputs__x=recorded), root=tmp_path)


def test_files_that_are_none_are_one_sentence(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    for definition, workload, told in (
        (tmp_path / "none.json", WORKLOAD, "none.json can't be read"),
        (tmp_path / "broken.json", WORKLOAD, "broken.json is no JSON"),
        (DEFINITION, tmp_path / "broken.json", "is no JSON in line 1"),
        (tmp_path / "deep.json", WORKLOAD, "deep.json is no JSON"),
        (DEFINITION, tmp_path / "deep.json", "is no JSON in line 1"),
        (DEFINITION, tmp_path / "bytes.json", "bytes.json is no text"),
        (DEFINITION, tmp_path / "empty.jsonl", "has no workloads"),
        (DEFINITION, changed(WORKLOAD, definition="other"), "is of the definition other, not of scaled_w16"),
    ):
        with pytest.raises(UsageError, match=told):
            problem(definition, workload)


@pytest.mark.parametrize(
    ("content", "missing", "kind", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", False, UsageError, "is a pointer of Git LFS"),
        (b"\x08\0\0\0\0\0\0\0{}      ", True, LibraryMissing, "safetensors, which is not installed"),
    ],
    ids=["pointer", "no-package"],
)
def test_recorded_inputs_that_can_not_be_read_are_one_sentence(tmp_path, monkeypatch, content, missing, kind, told):
    (tmp_path / "x.safetensors").write_bytes(content)
    if missing:
        monkeypatch.setitem(sys.modules, "safetensors", None)
    recorded = {"type": "safetensors", "path": "x.safetensors", "tensor_key": "x"}
    with pytest.raises(kind, match=told):
        problem(workload=changed(WORKLOAD, workload__inputs__x=recorded), root=tmp_path)


def test_a_reference_that_samples_is_refused():
    found = problem(changed(DEFINITION, reference=RUN.replace("* scale", "* scale * torch.rand_like(x)")))
    with pytest.raises(UsageError, match="changes from call to call"):
        found.exact(*drawn(found))

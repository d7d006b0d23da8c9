"""What of flashinfer-bench's files is refused, each in one sentence."""

from __future__ import annotations

import sys

import pytest
import torch
from published_samples import DEFINITION
from published_samples import RUN
from published_samples import WORKLOAD
from published_samples import changed
from published_samples import drawn
from published_samples import problem

from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError


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

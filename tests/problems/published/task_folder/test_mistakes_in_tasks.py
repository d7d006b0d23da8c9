"""What of task folders is refused, each in one sentence."""

from __future__ import annotations

import sys

import pytest
from published_samples import YML

from pytest_kgate import Problem
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.errors import UsageError

pytest.importorskip("yaml")

_PAIRS = zip("abcdefghijk", "bcdefghijkl", strict=True)
ALIASES = "\n".join(["a: &a [x, x]", *(f"{name}: &{name} [*{of}, *{of}]" for of, name in _PAIRS), "lang: *l"])
"""Each list is two of the one before: thousands of words, when written out."""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("benchmarks:", "benchmark:"), "it has benchmark, which no task has.*Did you mean benchmarks"),
        (("files:", "file:"), "it has no files"),
        (('"size": 32', '"siez": 32'), "generate_input can't be called with the arguments of benchmarks:0"),
        (('lang: "py"', 'lang: "cu"'), 'its lang is "cu"'),
        (('"../utils.py"', '"../util.py"'), "there is no file ../util.py"),
        (('{"size": 32, "seed": 13}', "32"), "it is int, where a table of names is wanted"),
        (('"size": 32, ', '"size": 32, : '), "is no YAML in line"),
        (('lang: "py"', 'lang: "py"\nlang: "cu"'), r"gives lang twice, again in line \d+"),
        (('{"size": 32, "seed": 13}', '{"size": 32, "size": 64}'), r"gives size twice, again in line \d+"),
        ((YML, "- 1\n"), "it is list, where a table"),
        ((YML[YML.index("tests") :], ""), "it has neither tests nor benchmarks"),
        (('lang: "py"', "lang: " + "[" * 1000 + "]" * 1000), "is nested too deeply"),
        (('lang: "py"', ALIASES), r"its lang is \[\[.*\.\.\."),
    ],
)
def test_a_task_yml_with_a_mistake_is_one_sentence(folder, change, told):
    with pytest.raises(UsageError, match=f"(?s){told}") as raised:
        Problem.from_task_folder(folder(yml=YML.replace(*change)))
    assert "task.yml" in raised.value.what
    assert "\n" not in raised.value.what


@pytest.mark.parametrize("case", ["tests:2", "tests", "test:0", "benchmarks:-1"])
def test_a_case_that_there_is_not_is_one_sentence(folder, case):
    with pytest.raises(UsageError, match="no case"):
        Problem.from_task_folder(folder(), case)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("x = 1", "does not define generate_input, ref_kernel, check_implementation"),
        ("from utils import nothing_of_this_name", "can't be imported: ImportError"),
        ("import nothing_of_this_name", "can't be imported: ModuleNotFoundError"),
        ("raise SystemExit", "can't be imported: SystemExit"),
    ],
)
def test_a_reference_that_is_none_is_one_sentence(folder, reference, told):
    with pytest.raises(UsageError, match=told):
        Problem.from_task_folder(folder(reference))


def test_a_folder_without_a_task_is_one_sentence(tmp_path, folder, monkeypatch):
    with pytest.raises(UsageError, match=r"task\.yml can't be read"):
        Problem.from_task_folder(tmp_path)
    inside = folder()
    text = (inside / "task.yml").read_text()
    (inside / "task.yml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"task\.yml is no text"):
        Problem.from_task_folder(inside)
    (inside / "task.yml").write_text(text)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(LibraryMissing, match="PyYAML, which is not installed"):
        Problem.from_task_folder(folder())

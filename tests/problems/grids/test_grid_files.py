"""Grids of files: what they may say, and what a user reads who has said something else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_kgate import Shape
from pytest_kgate import shapes
from pytest_kgate.errors import KgateError
from pytest_kgate.problems.grids.named import is_grid

TOML = """\
[defaults]
heads = 8
head_dim = 64  # seqlne = 3

[[shapes]]
batch = 1
seqlen = 512

[[shapes]]
batch = 2
"seqlen" = [1024, 2048]
causal = [false, true]
"""
YAML = """\
defaults: {heads: 8, head_dim: 64}
shapes:
  - {batch: 1, seqlen: 512}
  - batch: 2
    seqlen: [1024, 2048]
    causal: [no, yes]
"""
WANTED = (
    Shape(1, 8, 512, 64),
    *(Shape(2, 8, seqlen, 64, causal=causal) for seqlen in (1024, 2048) for causal in (False, True)),
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("name", "text"), [("grid.toml", TOML), ("grid.yaml", YAML), ("grid.YML", YAML)])
def test_shapes_come_in_order_with_every_combination_of_a_fields_values(name, text):
    needs_reader(name)
    Path(name).write_text(text)
    assert shapes.load(name) == WANTED
    assert is_grid(WANTED)


def test_a_value_of_a_shape_goes_before_the_default(tmp_path):
    (tmp_path / "grid.toml").write_text(
        "shapes = [\n  {seqlen = 512},\n  {seqlen = 17, head_dim = 128},\n]\n"
        "[defaults]\nbatch = 1\nheads = 8\nhead_dim = 64\n"
    )
    assert shapes.load(tmp_path / "grid.toml") == (Shape(1, 8, 512, 64), Shape(1, 8, 17, 128))


def test_a_file_may_name_every_field_of_a_shape():
    Path("grid.toml").write_text(
        "[[shapes]]\nbatch = 1\nheads = 8\nseqlen = 1\nhead_dim = 64\nkv_heads = [2, 8]\nkv_seqlen = 99\n"
        "window = 7\nsoftcap = 30\nscale = 0.5\nbias = 'heads'\ncausal = true\n"
    )
    more = {"kv_seqlen": 99, "window": 7, "softcap": 30.0, "scale": 0.5, "bias": "heads"}
    assert shapes.load("grid.toml") == (
        Shape(1, 8, 1, 64, causal=True, kv_heads=2, **more),
        Shape(1, 8, 1, 64, causal=True, **more),
    )


def test_a_file_is_looked_for_beside_the_test_first(tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tmp_path / "grid.toml").write_text(TOML)
    test = {"__file__": str(tests / "test_mine.py"), "shapes": shapes}
    code = compile("found = shapes.load('grid.toml')", test["__file__"], "exec")
    exec(code, test)
    assert test["found"] == WANTED
    (tests / "grid.toml").write_text("[[shapes]]\nbatch = 1\nheads = 1\nseqlen = 1\nhead_dim = 1\n")
    exec(code, test)
    assert test["found"] == (Shape(1, 1, 1, 1),)


HEAD = "[defaults]\nheads = 8\nhead_dim = 64\n"
WRONG = {
    "a typo in a field": (
        f"{HEAD}[[shapes]]\nbatch = 1\nseqlne = 512\n",
        "line 6: a shape has no field 'seqlne'. Did you mean 'seqlen'?\nIt has batch, heads, ",
    ),
    "a typo in the defaults": (
        "[defaults]\nhead = 8\n[[shapes]]\nbatch = 1\n",
        "line 2: a shape has no field 'head'. Did you mean 'heads'?",
    ),
    "a typo in a part": (
        f"{HEAD}[[shape]]\nbatch = 1\nseqlen = 512\n",
        "line 4: 'shape' is no part of a grid. Did you mean 'shapes'?\nIt has defaults and shapes.",
    ),
    "a typo in the second of several lines": (
        'shapes = [\n  {batch = 1, heads = 1, seqlen = 2, head_dim = 4}, # "seqlne = 3"\n  {batch = 1, seqlne = 2},\n]',
        "line 3: a shape has no field 'seqlne'.",
    ),
    "a bad value": (
        f"{HEAD}[[shapes]]\nbatch = 1\nseqlen = 512\n[[shapes]]\nbatch = 2\nseqlen = [512, -1]\n",
        "line 9: seqlen must be a positive integer, got -1.\nMend the value",
    ),
    "a bad value among the defaults": (
        "[[shapes]]\nseqlen = 512\n[defaults]\nbatch = 1.5\nheads = 8\nhead_dim = 64\n[[shapes]]\nseqlen = 1024\n",
        "line 4: batch must be a positive integer, got 1.5.",
    ),
    "a word for a number": (
        f"{HEAD}[[shapes]]\nbatch = 1\nseqlen = 'long'\n",
        "line 6: seqlen must be a positive integer, got 'long'.",
    ),
    "a word for true or false": (
        f"{HEAD}[[shapes]]\nbatch = 1\nseqlen = 1\ncausal = 'no'\n",
        "line 7: causal must be True or False, got 'no'.",
    ),
    "fields that can't be had together": (
        f"{HEAD}[[shapes]]\nbatch = 1\nkv_heads = [4, 3]\nseqlen = 1\n",
        "line 6: kv_heads must divide heads, since each is read by as many: got 3 of 8.\nMend the value",
    ),
    "a list in a list": (
        f"{HEAD}[[shapes]]\nbatch = [[1]]\nseqlen = 1\n",
        "line 5: batch cannot be a list.\nIt takes a value, or a list of values.",
    ),
    "a field without values": (
        f"{HEAD}[[shapes]]\nbatch = 1\nseqlen = []\n",
        "line 6: seqlen has no values.\nGive it one, or several.",
    ),
    "a field left out": (
        f"{HEAD}[[shapes]]\nbatch = 1\nseqlen = 1\n[[shapes]]\n",
        "line 7: the shape has no batch and no seqlen.\nGive it here, or under `defaults`.",
    ),
    "a shape twice": (
        f"{HEAD}[[shapes]]\nbatch = 1\nseqlen = 512\n[[shapes]]\nbatch = 1\nseqlen = 512\n",
        "line 7: 1x8x512x64 is there twice, first in line 4.\nKeep one of the two.",
    ),
    "one shape, not a list": (
        f"{HEAD}[shapes]\nbatch = 1\nseqlen = 512\n",
        "line 4: `shapes` is not a list of shapes.\nEach begins with `[[shapes]]` in TOML, and with `- ` in YAML.",
    ),
    "a shape in words": (
        "shapes = ['1x8x512x64']\n",
        "line 1: '1x8x512x64' is not a table of names and values.\nWrite its fields, as in `{batch: 1, ",
    ),
    "nothing": ("", "line 1: the grid has no shapes.\nList some under `shapes`."),
    "defaults alone": (HEAD, "line 1: the grid has no shapes."),
    "an empty list": ("\nshapes = []\n", "line 2: the grid has no shapes."),
    "a field twice": (
        f"{HEAD}[[shapes]]\nbatch = 1\nbatch = 2\n",
        "line 6: this is no TOML: Cannot overwrite a value in `batch = 2`.\nMend that line, or the one before.",
    ),
    "no TOML at its end": ("[[shapes]]\nbatch =", "line 2: this is no TOML: Invalid value in `batch =`."),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_a_mistake_names_file_line_and_field_and_what_to_do(text, says):
    Path("grid.toml").write_text(text)
    assert f"grid.toml, {says}" in refusal("grid.toml")


WRONG_YAML = {
    "a typo in a field": (
        "defaults:\n  heads: 8\nshapes:\n  - batch: 1\n    seqlne: 3\n",
        "line 5: a shape has no field 'seqlne'. Did you mean 'seqlen'?",
    ),
    "a field twice": ("defaults:\n  heads: 8\n  heads: 9\n", "line 3: heads is given twice.\nKeep one of the two."),
    "a field that is no word": ("shapes:\n  - ? [a]\n    : 1\n", "line 2: a field's name must be a word."),
    "a bad value": (
        "shapes:\n  - {batch: 1, heads: 1, head_dim: 2,\n     seqlen: [1, x]}\n",
        "line 3: seqlen must be a positive integer, got 'x'.",
    ),
    "a day that no calendar has": ("shapes:\n  - batch: 2026-02-30\n", "line 2: 2026-02-30 is no value: "),
    "nothing": ("", "line 1: the grid has no shapes."),
    "nothing under shapes": ("shapes:\n", "line 1: the grid has no shapes."),
    "a list without its name": ("- batch: 1\n", "line 1: a list is not a table of names and values.\nA grid has"),
    "one shape, not a list": ("\nshapes:\n  batch: 1\n", "line 2: `shapes` is not a list of shapes."),
    "a tab": (
        "shapes:\n\t- batch: 1\n",
        "line 2: this is no YAML: found character '\\t' that cannot start any token in `- batch: 1`.",
    ),
    "an open list": ("shapes: [1,\n", "line 2: this is no YAML: "),
    "an unknown alias": ("shapes:\n  - *mine\n", "line 2: this is no YAML: found undefined alias 'mine' in `- *mine`."),
    "a list that holds itself": ("shapes: &a [*a]\n", "line 1: values are nested too deep.\n"),
    "a type of one's own": ("shapes:\n  - batch: !mine 1\n", "line 2: this is no YAML: could not determine"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2: this is no YAML: "),
    "a control character": ("shapes:\n  - batch: \0\n", "line 2: this is no YAML: special characters"),
}


@pytest.mark.parametrize(("text", "says"), WRONG_YAML.values(), ids=WRONG_YAML)
def test_a_mistake_in_yaml_names_them_too(text, says):
    needs_reader("grid.yaml")
    Path("grid.yaml").write_text(text)
    assert f"grid.yaml, {says}" in refusal("grid.yaml")


def test_yaml_without_pyyaml_is_told_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    Path("grid.yaml").write_text(YAML)
    said = refusal("grid.yaml")
    assert said == (
        "grid.yaml can't be read: PyYAML is not installed.\nInstall it (pip install pyyaml), or write the grid in TOML."
    )


def test_a_missing_file_is_told_where_it_was_looked_for_and_what_is_like_it(tmp_path):
    Path("grid.toml").write_text(TOML)
    said = refusal("gird.toml")
    assert said.startswith("There is no file gird.toml to take shapes from. Did you mean 'grid.toml'?")
    assert str(tmp_path) in said


def test_a_file_of_another_kind_is_told_the_right_ones():
    Path("grid.json").write_text("{}")
    assert refusal("grid.json") == "grid.json is no file of shapes.\nIts name must end in .toml, .yaml or .yml."


def test_a_file_that_is_no_text_is_refused():
    Path("grid.toml").write_bytes(b"\xff\xfe\xff")
    assert refusal("grid.toml").startswith("grid.toml can't be read: it is no text in UTF-8.")


def needs_reader(name: str) -> None:
    """Skip where there is no reader for such a file."""
    if not name.endswith(".toml"):
        pytest.importorskip("yaml", reason="PyYAML is not installed; the extra `test` brings it")


def refusal(name: str) -> str:
    with pytest.raises(KgateError) as caught:
        shapes.load(name)
    return str(caught.value)

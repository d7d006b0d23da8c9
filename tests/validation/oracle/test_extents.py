"""The subsample of attention's other extents: what meets in it, a problem of it, and the table made of it."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.cli import main
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError
from pytest_kgate.validation.oracle import extents
from pytest_kgate.validation.oracle import file
from pytest_kgate.validation.oracle import grid

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "rows x keys": (65, 130),
    "heads": (4, 1),
    "head_dim": 64,
    "causal": True,
    "window": 7,
    "softcap": None,
    "scale": 0.3,
    "bias": None,
    "outputs": "o+lse",
    "batch": 1,
    "dtype": "float16",
}


@pytest.mark.parametrize("seed", [42, 7])
def test_every_two_values_of_two_extents_meet_in_a_few_dozen_problems(seed):
    chosen = extents.subsample(seed)
    for one, other in itertools.combinations(extents.VALUES, 2):
        met = {(problem[one], problem[other]) for problem in chosen}
        assert met == set(itertools.product(extents.VALUES[one], extents.VALUES[other]))
    assert len(chosen) < 40
    assert chosen == extents.subsample(seed)


def test_each_value_is_met_by_itself_and_no_problem_twice():
    chosen = extents.alone()
    away = [{name: value for name, value in one.items() if value != extents.PLAIN[name]} for one in chosen]
    assert away[0] == {}
    for name, values in extents.VALUES.items():
        assert [{name: value} in away for value in values[1:]] == [True] * len(values[1:])
    assert len(set(map(repr, away))) == len(away) < 40


def test_host_kernel_takes_every_extent_by_itself():
    device, host = HostDevice(), load_kernel("host")
    for chosen in extents.alone():
        problem = extents.problem_of(chosen)
        assert extents.refusal(device, problem, host) == "", problem.name


def test_problem_has_the_right_verdicts_and_kernels_that_do_not_take_it_are_named():
    def takes_no_window(query, key, value, *, is_causal, scale, return_lse):
        raise AssertionError

    found = extents.cell(HostDevice(), {**SMALL, "window": 7}, {"old": takes_no_window}, 42)
    assert (found.accused, found.lived) == ((), ())
    assert found.died > 40
    assert found.answers == 2 * 2  # flash and math on a normal and a hard draw: the others need a GPU
    refused = dict(told.split(": ", 1) for told in found.refused)
    assert refused.keys() == {"sdpa cudnn", "sdpa efficient", "sdpa flex", "old"}
    assert refused["old"] == "it has no parameter window"
    assert "window 7" in found.values


def test_kernel_that_ignores_the_window_is_accused_by_name():
    def ignores_it(query, key, value, *, is_causal, window, scale, return_lse):
        return extents.problem_of({**SMALL, "window": None}).reference["math"](query, key, value)

    found = extents.cell(HostDevice(), SMALL, {"old": ignores_it}, 42)
    assert found.answers == 3 * 2
    assert all(told.startswith("old on sdpa with lse 1x4x65x64-kvheads1-kv130-window7") for told in found.accused)
    assert len(found.accused) == 2


def test_table_has_a_line_for_each_value_and_says_that_it_is_a_subsample(tmp_path, capsys):
    one = extents.ExtentsCell(
        dtype="float16",
        head_dim=64,
        seqlen=65,
        answers=4,
        accused=(),
        nearest=0.5,
        died=40,
        lived=(),
        seconds=1.0,
        problem="sdpa a",
        values=("window 7", "softcap none"),
        refused=("old: it has no parameter window",),
    )
    other = dataclasses.replace(one, values=("window none", "softcap none"), lived=("no window on sdpa b",), refused=())
    content = file.document([one, other], ["old"], {}, {"device": "A CPU"})
    file.save(content, tmp_path / "extents.json")
    assert main(["oracle", "--from", str(tmp_path / "extents.json")]) == 1
    told = capsys.readouterr()
    assert "| softcap none | 2 | 8 | 0 | 50% | 80 | 1 |" in told.out
    assert "| window 7 | 1 | 4 | 0 | 50% | 40 | 0 |" in told.out
    assert "A subsample: 2 of" in told.out
    assert "1 by old" in told.out
    assert "lived: no window on sdpa b" in told.err


def test_each_extent_by_itself_has_a_line_with_the_kernels_that_took_it(tmp_path, capsys, monkeypatch):
    def takes_no_lse(query, key, value, *, is_causal):
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal)

    problems = [{**extents.PLAIN, "rows x keys": (17, 17), "outputs": outputs} for outputs in ("o", "o+lse")]
    monkeypatch.setattr(extents, "alone", lambda: problems)
    monkeypatch.setattr(grid, "honest_kernels", lambda device: ({"plain": takes_no_lse}, {}))
    path = tmp_path / "alone.json"
    assert main_of("oracle", "--extents", "alone", "--device", "host", "--json", str(path)) == 0
    made = capsys.readouterr().out
    assert main(["oracle", "--from", str(path)]) == 0
    assert capsys.readouterr().out == made
    lines = [line.split(" | ")[:3] for line in made.splitlines()]
    assert ["| rows x keys 17 x 17", "plain", "6"] in lines
    assert ["| rows x keys 17 x 17, outputs o+lse", "none", "4"] in lines
    assert "refused it in a sentence" in made
    assert "A subsample" not in made


def test_lengths_of_the_other_grid_are_refused():
    with pytest.raises(UsageError, match="of its own"):
        main_of("oracle", "--extents", "--lengths", "17", "--device", "host")


def main_of(*arguments):
    import argparse

    from pytest_kgate.validation.oracle.command import add_arguments
    from pytest_kgate.validation.oracle.command import run

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(arguments[1:]))

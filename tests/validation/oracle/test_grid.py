"""The grid on which the oracle is tested: what it covers, what is made of its outcomes; a small part of it, run."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from pytest_kgate import Shape
from pytest_kgate.cli import main
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import UsageError
from pytest_kgate.validation.oracle import file
from pytest_kgate.validation.oracle import grid
from pytest_kgate.validation.oracle.grid import GridCell

pytestmark = pytest.mark.usefixtures("one_thread")


def test_mutants_meet_every_size_at_every_length_below_the_long_ones():
    for seqlen in grid.LENGTHS:
        met = {
            grid.size_for_mutants(dtype, head_dim, seqlen, causal=causal)
            for dtype, head_dim, causal in itertools.product(grid.TOLERANCE, grid.HEAD_DIMS, (False, True))
        }
        assert met == ({(1, 2)} if seqlen >= 2048 else set(grid.SIZES))


@pytest.mark.parametrize("dtype", grid.TOLERANCE)
def test_part_of_the_grid_has_the_right_verdicts(dtype):
    device = HostDevice()
    kernels, missing = grid.honest_kernels(device)
    found = grid.part(device, kernels, dtype, 80, 17, 42)
    assert (found.accused, found.lived, missing) == ((), (), {})
    assert found.died > 40
    assert found.answers == 2 * 2 * len(grid.SIZES) * (len(kernels) - 2)  # cuDNN's and the efficient one need a GPU
    assert 0 < found.nearest < 1


def test_honest_kernel_that_is_not_is_accused_by_name():
    def forgets_the_last_row(query, key, value, is_causal):
        answer = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
        answer[:, :, -1] = 0
        return answer

    def broken(query, key, value):
        raise RuntimeError("no such kernel")

    found = grid.part(HostDevice(), {"forgetful": forgets_the_last_row, "broken": broken}, "float16", 64, 1, 42)
    assert found.answers == len(found.accused) == 4 * 2 * len(grid.SIZES)
    last = f"forgetful on sdpa {Shape(8, 16, 1, 64, True)} float16: max"
    assert any(told.startswith(last) for told in found.accused)
    assert any("no such kernel" in told for told in found.accused)


def outcome(**changed):
    return GridCell(
        **{
            "dtype": "float16",
            "head_dim": 64,
            "seqlen": 17,
            "answers": 10,
            "accused": (),
            "nearest": 0.5,
            "died": 20,
            "lived": (),
            "seconds": 1.0,
            **changed,
        }
    )


def test_command_runs_keeps_and_shows(tmp_path, capsys):
    path, page = tmp_path / "oracle.json", tmp_path / "page.md"
    page.write_text("<!-- kgate:oracle -->\n<!-- /kgate -->\n")
    run = ["oracle", "--device", "host", "--lengths", "1", "--head-dims", "64", "--json", str(path)]
    assert main([*run, "--into", str(page), "--block", "oracle"]) == 0
    assert [one["dtype"] for one in json.loads(path.read_text())["outcomes"]] == ["float16", "bfloat16"]
    assert main(["oracle", "--from", str(path)]) == 0
    assert capsys.readouterr().out.strip() in page.read_text()


def test_misjudged_kernels_are_named_and_counted(tmp_path, capsys):
    outcomes = [outcome(), outcome(dtype="bfloat16", accused=("wmma on x: off",), lived=("zeros on x",), nearest=1.5)]
    content = file.document(outcomes, ["wmma"], {"cutensor": "no library"}, {"device": "A GPU"})
    path = tmp_path / "oracle.json"
    file.save(content, path)
    assert file.load(path) == content
    assert main(["oracle", "--from", str(path)]) == 1
    told = capsys.readouterr()
    assert "| 17 | 20 | 1 | 150% | 40 | 1 |" in told.out
    assert "Not run: cutensor (no library)" in told.out
    assert "accused: wmma on x: off" in told.err
    assert "lived: zeros on x" in told.err


def test_length_that_is_not_of_the_grid_and_file_of_something_else_are_refused(tmp_path):
    with pytest.raises(UsageError, match="names none of the grid's"):
        grid_command_run("--lengths", "18")
    (tmp_path / "file.json").write_text("{}")
    with pytest.raises(UsageError, match="holds no run over the grid"):
        file.load(tmp_path / "file.json")


def grid_command_run(*arguments):
    import argparse

    from pytest_kgate.validation.oracle.command import add_arguments
    from pytest_kgate.validation.oracle.command import run

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(arguments))

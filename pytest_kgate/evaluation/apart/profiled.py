"""`kgate measure --profile`: the measured kernel as a test, which `kgate profile` counts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pytest_kgate.profile.nsight.command import command
from pytest_kgate.system.folders.scratch import scratch

_TEST = '''"""Written by `kgate measure --profile`."""

import pytest
from pytest_kgate.problems.grids.shape_text import parse_shape


@pytest.mark.parametrize(("shape", "dtype"), {cases!r})
def test_measured(kbench, sdpa_oracle, kernels, shape, dtype):
    kbench({candidate}, sdpa_oracle(parse_shape(shape), dtype=dtype))
'''


def session_of(options: argparse.Namespace, problems: Sequence[str]) -> str:
    """A file of one test that calls the kernel on these problems, by their names: `sdpa 1x8x512x64 float16`."""
    cases = [tuple(name.split()[-2:]) for name in problems]
    candidate = f"kernels({options.impl!r})" if options.impl is not None else repr(_absolute(options.candidate))
    return _TEST.format(cases=cases, candidate=candidate)


def profile(options: argparse.Namespace, problems: Sequence[str]) -> int:
    """Count and show; the status and the errors are those of `kgate profile`."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with scratch("measure") as folder:
        test = Path(folder) / "test_measured.py"
        test.write_text(session_of(options, problems), encoding="utf-8")
        device = "cuda" if options.device in (None, "auto") else options.device
        cold = ["--cold"] if options.cache == "cold" else []
        return command.run(parser.parse_args([str(test), f"--device={device}", *cold]))


def _absolute(candidate: str) -> str:
    """The candidate as the test can name it, wherever its file lies."""
    file, colon, function = candidate.rpartition(":") if ".py:" in candidate else (candidate, "", "")
    path = Path(file).resolve()
    return f"{path}{colon}{function}" if path.is_file() else candidate

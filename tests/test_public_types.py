"""What type checkers make of a user's tests: right ones are accepted, and names and arguments that are none are not."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_kgate
from pytest_kgate.evaluation.options.options import PER_TEST
from pytest_kgate.session.fixtures.fixture_types import Kbench

ROOT = Path(pytest_kgate.__file__).parents[1]
"""Where type checkers find the package, however it is installed."""
USER = Path(__file__).parent / "support" / "typed_user.py"

WRONG = {
    "Nonsense": "from pytest_kgate import Nonsense\n",
    "bugdet": """
from pytest_kgate import Kbench, Problem
def test_an_option_that_there_is_not(kbench: Kbench, problem: Problem) -> None:
    kbench(abs, problem, bugdet=3)
""",
    "Problem": """
from pytest_kgate import Kbench, Problem
def test_the_problem_first(kbench: Kbench, problem: Problem) -> None:
    kbench(problem, abs)
""",
    "Shape": """
from pytest_kgate import SdpaOracle
def test_a_shape_in_words(sdpa_oracle: SdpaOracle) -> None:
    sdpa_oracle("1x8x512x64")
""",
}
"""What makes no sense, by a word that the complaint of it has."""


def mypy(path: Path) -> list[str]:
    """What mypy finds in the file under --strict."""
    pytest.importorskip("mypy", reason="mypy is not installed; `make types` does it")
    command = [
        "mypy",
        "--strict",
        "--config-file=",
        "--follow-imports=silent",
        f"--cache-dir={path.parent.parent}",
        str(path),
    ]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def pyright(path: Path) -> list[str]:
    """What pyright finds in the file by its usual rules."""
    pytest.importorskip("basedpyright", reason="basedpyright is not installed; `make types` does it")
    settings = path.parent / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "standard", "include": [path.name], "extraPaths": [str(ROOT)]}))
    command = ["basedpyright", "--outputjson", f"--project={settings}", f"--pythonpath={sys.executable}"]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [one["message"] for one in found if one["severity"] == "error" and one["file"].endswith(path.name)]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_typed_user_test_is_accepted(checker, tmp_path):
    copy = tmp_path / "test_typed.py"
    copy.write_text(USER.read_text())
    assert checker(copy) == []


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_makes_no_sense_is_refused(checker, tmp_path):
    for word, text in WRONG.items():
        path = tmp_path / "test_wrong.py"
        path.write_text(text)
        assert word in "\n".join(checker(path))


def test_every_public_name_can_be_imported():
    for name in pytest_kgate.__all__:
        assert getattr(importlib.import_module("pytest_kgate"), name) is not None
    with pytest.raises(AttributeError, match="Nonsense"):
        pytest_kgate.Nonsense  # noqa: B018


def test_types_of_kbench_name_every_option_of_a_call():
    keywords = [one for one in inspect.signature(Kbench.__call__).parameters.values() if one.default is ...]
    assert {one.name for one in keywords} == {*PER_TEST, "speedup", "allclose", "speed_of_light"} - {
        "debug",
        "sdpa_backend",
    }

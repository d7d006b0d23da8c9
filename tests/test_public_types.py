"""What type checkers make of a user's tests: right ones are accepted, and names and arguments that are none are not."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterable
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


def mypy(folder: Path) -> dict[str, str]:
    """What mypy finds in the folder's files under --strict, by the file's name."""
    pytest.importorskip("mypy", reason="mypy is not installed; `make types` does it")
    command = [
        "mypy",
        "--strict",
        "--config-file=",
        "--follow-imports=silent",
        f"--cache-dir={folder}",
        *map(str, sorted(folder.glob("*.py"))),
    ]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = [line.partition(": error: ") for line in done.stdout.splitlines() if ": error: " in line]
    return by_file((place.rpartition(":")[0], said) for place, _, said in lines)


def pyright(folder: Path) -> dict[str, str]:
    """What pyright finds in the folder's files by its usual rules, by the file's name."""
    pytest.importorskip("basedpyright", reason="basedpyright is not installed; `make types` does it")
    settings = folder / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "standard", "include": ["*.py"], "extraPaths": [str(ROOT)]}))
    command = ["basedpyright", "--outputjson", f"--project={settings}", f"--pythonpath={sys.executable}"]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return by_file((one["file"], one["message"]) for one in found if one["severity"] == "error")


def by_file(found: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Complaints with their files -> all of each file as one text."""
    texts: dict[str, str] = {}
    for file, said in found:
        texts[Path(file).name] = f"{texts.get(Path(file).name, '')}{said}\n"
    return texts


@pytest.fixture(scope="module", params=[mypy, pyright], ids=lambda checker: checker.__name__)
def complaints(request, tmp_path_factory):
    """What a checker says of all files in one run, by the file's name."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "test_typed.py").write_text(USER.read_text())
    for word, text in WRONG.items():
        (folder / f"test_{word.lower()}.py").write_text(text)
    return request.param(folder)


@pytest.mark.types
def test_a_typed_user_test_is_accepted(complaints):
    assert complaints.get("test_typed.py") is None


@pytest.mark.types
def test_what_makes_no_sense_is_refused(complaints):
    for word in WRONG:
        assert word in complaints[f"test_{word.lower()}.py"]


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

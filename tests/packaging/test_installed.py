"""The wheel in an environment of its own, outside the tree: what a reader gets who follows the pages."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from action_run import Job
from pages import CUDA
from pages import README
from pages import UNTRUSTED
from pages import WRITING_TESTS
from pages import example
from sample_suite import RELU
from sample_suite import fake_device

from pytest_kgate import __version__
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.errors import ToolchainMissing

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.package

PRELUDE = "import pytest\nimport torch\nfrom pytest_kgate import Problem, Shape\n"

SILU = "def triton_silu(x, out):\n    torch.mul(x, torch.sigmoid(x), out=out)\n\n"
"""What takes the Triton kernel's place where Triton has no GPU."""

GENERATED = """
import torch

def attention(q, k, v, is_causal):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
"""


@dataclass(frozen=True)
class Reader:
    """Somebody who installed the wheel, in a folder that holds only what he writes."""

    python: Path
    folder: Path

    def run(self, *command: str | Path, may_fail: bool = False) -> str:
        """Run a program of the environment, which must exit with 0 (or, where it may fail, 1); what it printed."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
        inherited["KGATE_CACHE_DIR"] = str(self.python.parents[1] / "cache")  # what the tree compiled is not there
        program = self.python.with_name(str(command[0]))
        done = subprocess.run(
            [program, *command[1:]], cwd=self.folder, env=inherited, capture_output=True, text=True, timeout=300
        )
        assert done.returncode in ((0, 1) if may_fail else (0,)), done.stdout + done.stderr
        return done.stdout

    def race(self, text: str, *options: str) -> list[dict[str, Any]]:
        """Run this text as a test file, on the host; its records; none says that an answer is wrong or missing.

        A machine that has other things to do may leave a race undecided or INVALID: whether it is quiet is not asked.
        """
        (self.folder / "test_mine.py").write_text(text)
        on_host = ["--kgate-device", "host", "--kgate-budget", "2", "--kgate-json", "records.json", *options]
        printed = self.run("python", "-m", "pytest", *on_host, may_fail=True)
        records: list[dict[str, Any]] = json.loads((self.folder / "records.json").read_text())["records"]
        assert {record["verdict"] for record in records} <= {"PASS", "INCONCLUSIVE", "INVALID"}, printed
        return records


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment's Python. PyTorch and all other packages are those that run this test; the wheel is its own."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    python = folder / "bin" / "python"
    runpy.run_path(str(ROOT / ".ci" / "venv.py"))["make"](str(folder), str(python))
    alone = ["--no-index", "--no-deps", "--ignore-installed"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *alone, wheel], check=True, cwd=folder)
    return python


@pytest.fixture
def reader(environment: Path, tmp_path: Path) -> Reader:
    return Reader(environment, tmp_path)


def for_host(text: str) -> str:
    """An example of the pages as a small machine without a GPU passes it: the host's kernel, short, any speed."""
    text = text.replace('kernels("latency")', 'kernels("host")').replace(
        "Shape(1, 8, 2048, 64)", "Shape(1, 8, 256, 64)"
    )
    return re.sub(r"speedup\([\d.]+", "speedup(100", text)


def test_the_package_is_the_one_of_the_wheel(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    printed = reader.run("python", "-c", "import pytest_kgate; print(pytest_kgate.__file__)").strip()
    with capsys.disabled():
        print(f"\nThe installed pytest_kgate is {printed}")
    assert Path(printed).is_relative_to(reader.python.parents[1])
    assert not Path(printed).is_relative_to(ROOT)
    assert (Path(printed).parent / "csrc" / "sdpa.h").is_file()


def test_the_command_knows_its_version_and_the_kernels(reader: Reader) -> None:
    assert reader.run("kgate", "--version").strip() == f"pytest-kgate {__version__}"
    assert {"host", "latency", "wmma"} <= set(reader.run("kgate", "impls").split())
    assert reader.run("kgate", "build", "host").startswith("host (")


def test_the_examples_of_the_readme_are_raced(reader: Reader) -> None:
    records = reader.race(for_host(example(README, "def test_latency") + example(README, "def test_silu")))
    assert [record["candidate"]["name"] for record in records] == ["host", "host", "my_silu"]


def test_the_operator_example_is_raced(reader: Reader) -> None:
    text = example(WRITING_TESTS, "SILU = Problem(")
    (record,) = reader.race(PRELUDE + SILU + for_host(text[text.index("SILU = Problem(") :]))
    assert record["candidate"]["name"] == "triton_silu"


def test_the_cuda_example_compiles(reader: Reader) -> None:
    try:
        toolchain.cuda_compiler()
    except ToolchainMissing as error:
        pytest.skip(str(error))
    (reader.folder / "my_attention.cu").write_text(CUDA)
    assert "sm_90a" in reader.run("kgate", "build", "my_attention.cu", "--arch", "sm_90a")


def test_the_isolated_example_is_raced_in_a_process_of_its_own(reader: Reader) -> None:
    (reader.folder / "generated.py").write_text(GENERATED)
    (record,) = reader.race(PRELUDE + for_host(example(UNTRUSTED, "generated.py:attention")), "--kgate-isolate")
    assert "isolation" in record


KERNEL = (
    RELU
    + """
@pytest.mark.speedup(0.95)
def test_mine(kbench):
    kbench(torch.relu, RELU, name="mine")
"""
)


@pytest.mark.parametrize(("ratio", "status", "said"), [(0.8, 0, "the gate passes"), (1.2, 1, "1 of 1 gate does not")])
def test_another_project_uses_the_action(
    ratio: float,
    status: int,
    said: str,
    reader: Reader,
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the wheel and the action's own files, and nothing else of this tree."""
    action, project = tmp_path / "action", tmp_path / "project"
    (action / ".ci").mkdir(parents=True)
    for name in ("action.yml", ".ci/race"):
        shutil.copy(ROOT / name, action / name)
    project.mkdir()
    (project / "conftest.py").write_text(fake_device(ratio))
    (project / "test_kernels.py").write_text(KERNEL)
    for name in [name for name in os.environ if name.startswith(("PYTEST", "PYTHON"))]:
        monkeypatch.delenv(name)
    job = Job(project, tmp_path)
    package = str(wheel) if status == 0 else "none"
    job.use(action, package=package, python=str(reader.python), args="-k 'test_mine' -p no:cacheprovider")
    assert job.status == status, job.printed
    assert said in job.summary
    assert said in (job.uploaded["kgate"] / "comment.md").read_text()
    assert ("::error file=test_kernels.py,line=" in job.printed) == bool(status)

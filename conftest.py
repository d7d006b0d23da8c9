"""Shared by the whole test suite: `pytester`, its sessions' seed, and who has the GPU."""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import gc
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kgate.system.folders.shared_folder import VARIABLE

pytest_plugins = ["pytester"]

if "PYTEST_XDIST_WORKER" in os.environ:
    # PyTorch's idle threads spin before they sleep, which takes the cores from the tests of the other workers, and of
    # the sessions that these start: a third of all their work. Read when PyTorch is imported, here and in those.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_ROOT = Path(__file__).parent

_STARTUP = str(_ROOT / "tests" / "support" / "startup")
"""Holds what Python runs first in the processes that tests start."""

_LONG = (
    "tests/validation/cheats/test_catalogue.py",
    "tests/integrity/isolation/test_isolation.py",
    "tests/evaluation/test_evaluate_command.py",
    "tests/bench/processes/test_processes.py",
    "tests/validation/calibrate/test_protocol.py",
    "tests/integrity/isolation/test_attacks.py",
    "tests/search/prompts/test_provided_search.py",
    "tests/profile/nsight/test_collection.py",
    "tests/validation/simulate/test_simulate.py",
    "tests/bench/processes/test_clean.py",
    "tests/mistakes/test_mistakes_in_candidates.py",
    "tests/profile/test_sanitize.py",
    "tests/test_verbs.py",
    "tests/bench/correctness/test_mutants.py",
    "tests/bench/test_memory.py",
    "tests/evaluation/test_documented_loops.py",
    "tests/statistics/test_judge_error_rates.py",
    "tests/report/page/test_html_in_browser.py",
    "tests/bench/race/test_retry.py",
    "tests/session/test_plugin.py",
    "tests/bench/processes/test_gather.py",
    "tests/profile/test_sanitize_command.py",
    "tests/statistics/test_judge_processes.py",
    "tests/mistakes/test_mistakes_in_building.py",
    "tests/report/record/test_record.py",
    "tests/search/verbs/test_search.py",
)
"""Files that take longest, the longest first: the last ones to be given to a worker should be short."""

_WHERE_NAMED = ("grid", "package", "thorough", "types")
"""Markers of tests that run only where `-m` names them: they take long, and pyproject.toml says which run has them."""

_OWN_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background jobs ignore Ctrl-C, and so would the sessions that tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _STARTUP not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_STARTUP, os.environ.get("PYTHONPATH"))))
    if not _is_worker(config):
        # Where Python is told to write no bytecode, each of those processes would compile the whole package by itself.
        compileall.compile_dir(_ROOT / "pytest_kgate", quiet=2)
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # xdist would begin with the files that have most tests
    if _is_worker(config):
        beside = Path(config.option.basetemp).absolute()
        folder = beside.with_name(f"locks-{beside.name}")
        folder.mkdir(parents=True, exist_ok=True)
        config.stash[_OWN_FOLDER] = str(folder)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Sessions that tests of two workers start need not wait for each other, unless they time what is to be believed.

    By a file in a folder that all of them know, processes tell each other that they are timing on a device.
    """
    if _is_worker(item.config):
        believed = item.get_closest_marker("gpu") or item.get_closest_marker("perf")
        os.environ[VARIABLE] = "" if believed else item.config.stash[_OWN_FOLDER]


@pytest.fixture(autouse=True)
def fixed_width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that a test starts wrap their messages at one width, whichever terminal or worker the suite runs in."""
    if "pytester" in request.fixturenames:
        monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's own workers are other work to the sessions that its tests start."""
    monkeypatch.setenv("KGATE_FOREIGN_LOAD", "warn")


@pytest.fixture(autouse=True)
def no_step_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that a test starts are none of the step in which CI runs the suite."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture(autouse=True)
def fixed_seed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that a test starts repeat themselves, unless it is about the seeds that the plugin draws by itself."""
    if not request.node.get_closest_marker("secret_seed"):
        monkeypatch.setenv("KGATE_SEED", "42")


@pytest.fixture(autouse=True)
def no_clean_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that a test starts save the seconds that a second process takes, unless the test is about that."""
    if not request.node.get_closest_marker("clean_process"):
        monkeypatch.setenv("KGATE_CLEAN", "off")


@pytest.fixture(autouse=True)
def gpu_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that times has the GPU alone; those marked `gpu(alone=False)` share it (workers of xdist)."""
    marker = request.node.get_closest_marker("gpu")
    if not marker:
        yield
        return
    with _gpu(alone=marker.kwargs.get("alone", True)):
        yield


@contextlib.contextmanager
def _gpu(alone: bool) -> Iterator[None]:
    """Hold the GPUs that this process sees, of which two sessions on one machine may have different ones.

    Who waits to have them alone keeps the turn, so that no other test begins meanwhile.
    """
    seen = re.sub(r"\W", "-", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    folder = Path(tempfile.gettempdir())
    with (
        open(folder / f"kgate-gpu-tests-{seen}.turn", "w") as turn,
        open(folder / f"kgate-gpu-tests-{seen}", "w") as use,
    ):
        fcntl.flock(turn, fcntl.LOCK_EX)
        fcntl.flock(use, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        yield


def pytest_collection_finish() -> None:
    """Every session that pytester runs in this process has all garbage collected several times, at 40 ms each.

    What was imported for the tests stays anyway, PyTorch first of all, and need not be looked through.
    """
    if "torch" in sys.modules:
        from pytest_kgate.validation.cheats.session_modules import import_all

        import_all()  # pytester forgets what its sessions import, so that each would do it anew
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 10)  # Python's own, in the processes of xdist, too


@pytest.fixture(autouse=True, scope="module")
def settled() -> None:
    """What the files before have imported stays as well: with PyTorch's compiler it is as much again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def warm_program() -> Iterator[str]:
    """A program that does what Python does, in a fork of a process that has PyTorch already."""
    from warm_python import warm_python

    with warm_python() as program:
        yield program


@pytest.fixture
def warm(warm_program: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a test starts as `sys.executable` is forked; not for one that is about processes, or about the GPU."""
    monkeypatch.setattr(sys, "executable", warm_program)
    return warm_program


@pytest.fixture(scope="session")
def build_cache() -> Path:
    """The user's own, so that a second run of the suite compiles nothing that it can find there."""
    from pytest_kgate.build import library
    from pytest_kgate.build.compiler import cache

    library.binding()
    return cache.root()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small operators gain nothing from more, and lose much where other processes want the cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = {name for name in _WHERE_NAMED if name not in config.option.markexpr}
    runs = {item: left.isdisjoint(mark.name for mark in item.iter_markers()) for item in items}
    config.hook.pytest_deselected(items=[item for item in items if not runs[item]])
    items[:] = [item for item in items if runs[item]]
    if _is_worker(config):
        places = {file: place for place, file in enumerate(_LONG)}
        items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device; none is available to PyTorch"))

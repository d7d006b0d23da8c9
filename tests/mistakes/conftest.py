from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable

import pytest
from sample_suite import fake_device
from user_session import AFTER
from user_session import BEFORE
from user_session import Seen
from user_session import seen

from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.evaluation.options.options import OPTIONS


@pytest.fixture
def folder(pytester, monkeypatch, build_cache, warm):
    """Where the sessions of a test run: nobody's options, no memory of earlier builds."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(build_cache))
    for variable in [name for option in OPTIONS for name in option.environ]:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(ninja, "_failures", {})
    monkeypatch.setattr(ninja, "_shown", set())
    return pytester


_ALREADY_IMPORTED = "-Wignore:Module already imported:pytest.PytestAssertRewriteWarning"
"""The plugin is, by the session around this one: pytest says so where an editable installation's finder found it."""


@pytest.fixture
def play(folder) -> Callable[..., Seen]:
    """Run the mistake between two good tests. `device` is fake, gpu (a fake that takes CUDA kernels) or host."""

    def play(body: str, *arguments: str, device: str = "fake", apart: bool = False, conftest: str = "") -> Seen:
        if device in ("fake", "gpu"):
            conftest = fake_device(kind={"fake": "fake", "gpu": "cuda"}[device]) + conftest
        folder.makeconftest(conftest)
        folder.makepyfile(test_it=BEFORE + textwrap.dedent(body) + AFTER)
        run = folder.runpytest_subprocess if apart else folder.runpytest_inprocess
        asked = ["--kgate-device=host"] if device == "host" else []
        result = run(*asked, _ALREADY_IMPORTED, "--kgate-json=records.json", *arguments)
        return seen(
            folder.path / "records.json",
            f"{result.stdout.str()}\n{result.stderr.str()}",
            result.ret,
            result.parseoutcomes,
        )

    return play


@pytest.fixture
def no_compiler(folder, monkeypatch, tmp_path) -> None:
    """A machine on which nobody has installed a compiler yet."""
    for variable in ("CXX", "CUDA_HOME", "CUDA_PATH", "NVCC_CCBIN", "NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"):
        monkeypatch.delenv(variable, raising=False)
    empty = tmp_path / "bin"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "USUAL_CUDA", tmp_path / "no-cuda")
    monkeypatch.setitem(sys.modules, "nvidia", None)  # no wheel with a compiler in it


@pytest.fixture
def nvcc() -> None:
    try:
        toolchain.cuda_compiler()
    except toolchain.ToolchainMissing as error:
        pytest.skip(str(error))

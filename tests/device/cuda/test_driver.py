"""Calls of the CUDA driver, against a library that a real compiler makes."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from pytest_kgate.build.compiler import toolchain
from pytest_kgate.device.cuda import driver
from pytest_kgate.errors import TimingError

STUB = r"""
int cuDouble(int *out, int value) { *out = 2 * value; return 0; }
int cuFail(int status) { return status; }
int cuGetErrorString(int status, const char **text) { *text = status == 2 ? "out of memory" : 0; return 0; }
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source, library = tmp_path / "stub.cpp", tmp_path / "libstub.so"
    source.write_text('extern "C" {' + STUB + "}")
    subprocess.run([*toolchain.host_compiler().command, "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setattr(driver, "_library", lambda: ctypes.CDLL(str(library)))


def test_calls_go_through(stub):
    found = ctypes.c_int()
    driver.call("cuDouble", ctypes.byref(found), 21)
    assert found.value == 42


@pytest.mark.parametrize(("status", "words"), [(2, "out of memory"), (77, "error 77")])
def test_failures_are_put_in_the_drivers_words(stub, status, words):
    with pytest.raises(driver.DriverError, match=f"^{words}$"):
        driver.call("cuFail", status)


def test_failure_of_a_call_that_is_needed_says_what_to_do(stub):
    with pytest.raises(TimingError) as caught:
        driver.demand("The CUDA driver could not load it:", "Buy a larger GPU.", "cuFail", 2)
    assert (caught.value.what, caught.value.todo) == (
        "The CUDA driver could not load it: out of memory.",
        "Buy a larger GPU.",
    )


def test_function_that_the_driver_has_not_is_named(stub):
    with pytest.raises(driver.DriverError, match="this driver has no cuOfTomorrow"):
        driver.call("cuOfTomorrow")

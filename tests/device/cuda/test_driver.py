"""Calls of the CUDA driver through NVIDIA's bindings, against a driver without a GPU that a real compiler makes.

The bindings look for `libcuda.so.1` once a process, so that each test runs what it calls in one of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_kgate.build.compiler import toolchain

pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings, of the test extra")

SOURCE = Path(__file__).with_name("driver_stub.cpp")

DRIVER = """
import os, sys, traceback
from types import SimpleNamespace
import torch
from pytest_kgate.device.cuda import driver
from pytest_kgate.errors import KgateError

def told(call):
    try:
        return call()
    except (driver.DriverError, KgateError) as error:
        return f"{type(error).__name__}: {error}"

for line in sys.stdin:
    script, out = eval(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
        os.dup2(1, 2)
        status = 1
        try:
            exec("cuda = driver.bindings()\\n" + script)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Forks for each script, so that PyTorch is imported once for all."""


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> Iterator[Callable[[str], list[str]]]:
    """What a script says, and the driver that it calls, line by line."""
    folder = tmp_path_factory.mktemp("driver")
    compiler = toolchain.host_compiler().command
    subprocess.run([*compiler, "-shared", "-fPIC", SOURCE, "-o", folder / "libcuda.so.1"], check=True)
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("LD_LIBRARY_PATH"))))
    command = [sys.executable, "-u", "-c", DRIVER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "LD_LIBRARY_PATH": path}, **pipes) as forks:

        def said(script: str) -> list[str]:
            out = tmp_path_factory.mktemp("said") / "out.txt"
            print((script, str(out)), file=forks.stdin, flush=True)
            status = forks.stdout.readline()
            found = out.read_text()
            assert status == "0\n", found
            return found.splitlines()

        yield said
        forks.stdin.close()


def test_answer_is_returned(said):
    assert said("print(driver.call('cuCtxGetLimit', cuda.CUlimit.CU_LIMIT_PERSISTING_L2_CACHE_SIZE))") == ["1006"]


def test_failures_are_put_in_the_drivers_words(said):
    (words,) = said("print(told(lambda: driver.call('cuCtxGetLimit', cuda.CUlimit(5))))")
    assert words == "DriverError: out of memory"


def test_error_that_the_bindings_do_not_know_is_a_failure_too(said):
    (words,) = said("print(told(lambda: driver.call('cuCtxGetLimit', cuda.CUlimit(2))))")
    assert words.startswith("DriverError: cuCtxGetLimit: 4242")


@pytest.mark.parametrize("name", ["cuOfTomorrow", "cuCtxGetFlags"])
def test_function_that_the_bindings_or_the_driver_have_not_is_named(said, name):
    (words,) = said(f"print(told(lambda: driver.call('{name}')))")
    assert words.startswith("DriverError: ")
    assert name in words


def test_failure_of_a_call_that_is_needed_says_what_to_do(said):
    words = said("""
print(told(lambda: driver.demand("The driver could not:", "Buy a larger GPU.", "cuCtxGetLimit", cuda.CUlimit(5))))
""")
    assert words == ["TimingError: The driver could not: out of memory.", "Buy a larger GPU."]


@pytest.mark.parametrize(("cuda", "wanted"), [("13.0", "13"), ("12.4", "12"), ("11.8", "12"), (None, "12")])
def test_bindings_that_are_missing_are_named_in_the_version_that_fits(said, cuda, wanted):
    words = said(f"""
import sys, torch
torch.version.cuda = {cuda!r}
driver.bindings.cache_clear()
sys.modules["cuda.bindings"] = None
print(told(lambda: driver.call("cuCtxGetLimit")))
""")
    assert words[0].startswith("DeviceMissing: The CUDA driver can't be called: the package cuda-bindings is not")
    assert words[1] == f"pip install 'cuda-bindings=={wanted}.*'"


def test_timing_kernels_are_launched_with_arguments_of_64_bits(said):
    words = said("""
from pytest_kgate.device.cuda.instruments import Instruments
instruments = Instruments.__new__(Instruments)
instruments._module = driver.call("cuModuleLoadData", b".version 7.0")
function = instruments._function("kgate_null")
instruments._launch(function, SimpleNamespace(cuda_stream=0x9))
instruments._launch(function, SimpleNamespace(cuda_stream=0x8), 123456789012345, 2**63 + 5)
""")
    assert words == [
        "load .version",
        "function 0x100 kgate_null",
        "launch 0x200 1 1 1 1 1 1 0 0x9",
        "launch 0x200 1 1 1 1 1 1 0 0x8 123456789012345 9223372036854775813",
    ]


def test_second_context_has_its_turn_and_is_left_again(said):
    words = said("""
from pytest_kgate.device.cuda.second_context import second_context
other = second_context(0, b".version 7.0")
print("made")
other.take_turn()
assert second_context(0, b".version 7.0") is other
""")
    assert words[0].startswith("context ")
    assert words[1:] == [
        "load .version",
        "function 0x100 kgate_null",
        "pop",
        "made",
        "push 0x700",
        "launch 0x200 1 1 1 1 1 1 0 (nil)",
        "wait",
        "pop",
    ]


def test_where_no_second_context_can_be_made_there_is_none(said):
    words = said("""
from pytest_kgate.device.cuda.second_context import second_context
print(second_context(1, b".version 7.0"))
""")
    assert words[-1] == "None"


def test_kernels_of_a_graph_are_listed_by_name(said):
    words = said("""
from pytest_kgate.integrity.launches.graph_nodes import Unlisted, launched_by
for graph in range(1, 5):
    try:
        print(launched_by(SimpleNamespace(raw_cuda_graph=lambda: graph)))
    except Unlisted as error:
        print("Unlisted:", error)
""")
    assert words[0] == "{'first()': 2, 'second': 1, 'Memcpy': 1, 'Memset': 1}"
    assert words[1] == "Unlisted: what it runs is decided when it runs"
    assert words[2].startswith("Unlisted: cuGraphNodeGetType: 99")
    assert words[3:] == ["{}"]


def test_what_the_kernels_of_a_graph_take_is_asked_of_their_functions(said):
    words = said("""
from pytest_kgate.integrity.launches.graph_nodes import kernels_in
from pytest_kgate.profile.resources.launched import use_of
for kernel in kernels_in(SimpleNamespace(raw_cuda_graph=lambda: 1)):
    print(use_of(*kernel))
""")
    first = (
        "KernelUse(kernel='_Z5firstv', registers=72, local_bytes=0, spill_bytes=0, static_shared_bytes=1024, "
        "dynamic_shared_bytes=4096, blocks_per_sm=5)"
    )
    second = (
        "KernelUse(kernel='second', registers=12, local_bytes=40, spill_bytes=None, static_shared_bytes=1024, "
        "dynamic_shared_bytes=0, blocks_per_sm=5)"
    )
    once = ["occupancy 0x300 128 4096", first]
    assert sorted(words) == sorted([*once, "occupancy 0x500 32 0", second, *once])


def test_memory_is_made_shown_and_given_back(said):
    assert said("""
from pytest_kgate.integrity.isolation.shared_memory.cuda import CudaWindow
window = CudaWindow(3, 5000)
print(window.make())
window.show(12)
window.free()
""") == [
        "granularity 1 1 1 3 1",
        "reserve 8192 0 0 0",
        "create 8192 3 0",
        "map 700000000000 8192 0 abcdef0123 0",
        "access 700000000000 8192 1 3 3 1",
        "export abcdef0123 1 0",
        "17",
        "import 12 1",
        "unmap 700000000000 8192",
        "release abcdef0123",
        "map 700000000000 8192 0 55 0",
        "access 700000000000 8192 1 3 3 1",
        "unmap 700000000000 8192",
        "release 55",
        "free 700000000000 8192",
    ]


def test_settings_of_the_gpu_are_read_and_put_back(said):
    assert said("""
from pytest_kgate.integrity.global_state import of_gpu
of_gpu._set_persisting_l2(cuda.CUlimit.CU_LIMIT_PERSISTING_L2_CACHE_SIZE, 77)
print(of_gpu._window_bytes(0x33))
of_gpu._clear_window(0x33)
""") == ["limit 6 77", "reset", "stream 0x33 1", "65536", "stream 0x33 1 empty"]


def test_memory_bandwidth_is_of_the_clock_and_the_bus(said):
    (rate,) = said("from pytest_kgate.integrity import roofline; print(roofline._memory_rate(1))")
    assert float(rate) == pytest.approx(2 * 36041e3 * 37041 / 8 * 1.1)

"""What newcomers get wrong, and what they read then: what happened, what to do, and nothing measured is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch  # before any session: pytester forgets what its sessions import, and torch can't be imported twice

import pytest_kgate.bench
import pytest_kgate.build.kernel
import pytest_kgate.report.failure
import pytest_kgate.report.terminal  # noqa: F401
from pytest_kgate.build import cache
from pytest_kgate.build import compile as compiling
from pytest_kgate.build import library
from pytest_kgate.build import toolchain
from pytest_kgate.build import vendor
from pytest_kgate.option_table import OPTIONS
from pytest_kgate.report.record import Record
from pytest_kgate.report.record import json_schema
from pytest_kgate.report.record import load

jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")

FAKE = """
import pytest
from pytest_kgate.device.fake import FakeDevice
from pytest_kgate.device.noise import White

class Device(FakeDevice):
    kind = "KIND"
    arch = "sm_80"

@pytest.fixture(scope="session")
def kgate_device():
    return Device({"candidate": 0.8e-5, "reference": 1e-5}, noise=White(0.01))
"""
"""A device on which every candidate is a little faster than its reference."""

BEFORE = """
import pytest
import torch
from pytest_kgate import Problem, Shape

RELU = Problem(
    name="relu 64x64",
    inputs=lambda g: (torch.randn(64, 64, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)
SMALL = Shape(1, 2, 32, 16)

def good(x):
    return torch.relu(x)

def test_before(kbench):
    kbench(good, RELU, name="before", budget=0.2)
"""

AFTER = """
def test_after(kbench):
    kbench(good, RELU, name="after", budget=0.2)
"""

KERNEL = """
#include "sdpa.h"
#include <unistd.h>
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {{
    {body}
}}
KGATE_EXPORT const char* kgate_message(void) {{ return ""; }}
"""

NOT_POSIX = not hasattr(os, "fork")


@dataclass(frozen=True)
class Seen:
    """What the user has after a session."""

    text: str
    """All that was printed, as one line: messages are wrapped."""
    lines: str
    outcomes: dict[str, int]
    records: list[Record]
    status: int

    @property
    def names(self) -> list[str]:
        return [record["candidate"]["name"] for record in self.records]

    def says(self, *parts: str) -> None:
        for part in parts:
            assert part in self.text

    def lost_nothing(self, *others: str) -> None:
        """The tests around the mistake passed, and their records are in the file, with those named."""
        assert self.outcomes["passed"] == 2
        assert self.names == ["before", *others, "after"]

    def failed_once(self, *others: str) -> None:
        assert self.outcomes["failed"] == 1
        self.lost_nothing(*others)


@pytest.fixture(scope="session")
def build_cache() -> Path:
    """The user's own, so that a second run of the suite compiles nothing that it can find there."""
    library.binding()
    return cache.root()


@pytest.fixture
def folder(pytester, monkeypatch, build_cache):
    """Where the sessions of a test run: nobody's options, no memory of earlier builds."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(build_cache))
    for variable in [name for option in OPTIONS for name in option.environ]:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(compiling, "_failures", {})
    monkeypatch.setattr(compiling, "_shown", set())
    return pytester


@pytest.fixture
def play(folder) -> Callable[..., Seen]:
    """Run the mistake between two good tests. `device` is fake, gpu (a fake that takes CUDA kernels) or host."""

    def play(body: str, *arguments: str, device: str = "fake", apart: bool = False, conftest: str = "") -> Seen:
        if device in ("fake", "gpu"):
            conftest = FAKE.replace("KIND", {"fake": "fake", "gpu": "cuda"}[device]) + conftest
        folder.makeconftest(conftest)
        folder.makepyfile(test_it=BEFORE + textwrap.dedent(body) + AFTER)
        run = folder.runpytest_subprocess if apart else folder.runpytest_inprocess
        result = run(*(["--kgate-device=host"] if device == "host" else []), "--kgate-json=records.json", *arguments)
        return seen(
            folder.path / "records.json",
            f"{result.stdout.str()}\n{result.stderr.str()}",
            result.ret,
            result.parseoutcomes,
        )

    return play


def seen(path: Path, printed: str, status: int, outcomes: Callable[[], dict[str, int]] = dict) -> Seen:
    """Read what is there. No frame of the plugin's own shows, but in what the interpreter says when it crashes."""
    crash = re.compile(r"^Fatal Python error: .*^Extension modules: [^\n]*", re.DOTALL | re.MULTILINE)
    assert not re.findall(r"pytest_kgate[/\\][\w/\\]+\.py", crash.sub("", printed))
    assert "During handling of the above exception" not in printed
    assert "INTERNALERROR" not in printed
    records: list[Record] = []
    if path.is_file():
        jsonschema.validate(json.loads(path.read_text()), json_schema())
        records = load(path)
    try:
        counts = outcomes()
    except ValueError:  # the session never began
        counts = {}
    return Seen(" ".join(printed.split()), printed, counts, records, status)


def write_kernel(folder: Any, body: str, name: str = "mine.cpp", before: str = "") -> None:
    (folder.path / name).write_text(before + KERNEL.format(body=body))


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
    monkeypatch.setattr("sys.path", [place for place in sys.path if not (Path(place) / "nvidia").is_dir()])


@pytest.fixture
def nvcc() -> None:
    try:
        toolchain.cuda_compiler()
    except toolchain.ToolchainMissing as error:
        pytest.skip(str(error))


# ---------------------------------------------------------------------------------------------------------- building


BUILD = """
def test_mistake(kbench, sdpa_oracle, kernels):
    kbench(kernels(KERNEL), sdpa_oracle(SMALL, dtype="float32"))
"""


def test_no_cpp_compiler_is_said_with_the_package_to_install(play, folder, no_compiler):
    write_kernel(folder, "return 0;")
    result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    result.failed_once()
    result.says("No C++ compiler was found: neither CXX nor PATH leads to", "apt install g++")


def test_no_cuda_compiler_is_said_with_where_it_was_looked_for(play, folder, no_compiler):
    write_kernel(folder, "return 0;", "mine.cu")
    result = play(BUILD.replace("KERNEL", '"mine.cu"'), device="gpu")
    result.failed_once()
    result.says("No CUDA compiler was found", "CUDA_HOME", "pip install nvidia-cuda-nvcc")


def test_cxx_that_names_no_compiler_is_said(play, folder, monkeypatch):
    monkeypatch.setenv("CXX", "g++-99")
    write_kernel(folder, "return 0;")
    result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    result.failed_once()
    result.says("CXX=g++-99 names a C++ compiler that is not there", "Correct CXX")


def test_cuda_kernel_without_gpu_is_skipped_with_the_reason(play):
    result = play(BUILD.replace("KERNEL", '"wmma"'), "-rs")
    assert result.outcomes == {"passed": 2, "skipped": 1}
    result.lost_nothing()
    result.says("wmma needs a CUDA device, and there is none here.")


def test_cuda_kernel_without_gpu_fails_where_a_gpu_is_required(play):
    result = play(BUILD.replace("KERNEL", '"wmma"'), "--kgate-require-gpu")
    result.failed_once()
    result.says("wmma needs a CUDA device", "Run on a machine with an NVIDIA GPU and a CUDA build of PyTorch.")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
def test_asking_for_a_gpu_that_is_not_there_names_the_way_out(play):
    result = play("", "--kgate-device=cuda", device="none")
    assert result.outcomes == {"errors": 2}
    result.says("No CUDA device is available to this PyTorch.", "--kgate-device host")


@pytest.mark.usefixtures("nvcc")
@pytest.mark.parametrize("arch", ["sm_30", "sm_999"])
def test_architecture_that_nvcc_does_not_know_is_said_with_the_option(play, folder, arch):
    write_kernel(folder, "return 0;", "mine.cu")
    result = play(BUILD.replace("KERNEL", '"mine.cu"'), f"--kgate-arch={arch}", device="gpu")
    result.failed_once()
    result.says("mine does not compile: nvcc fatal", f"'compute_{arch[3:]}'", "Give --kgate-arch one of those that")


@pytest.mark.usefixtures("nvcc")
def test_gpu_older_than_the_kernel_needs_is_said(play):
    result = play(BUILD.replace("KERNEL", '"wmma"'), "--kgate-arch=sm_75", device="gpu")
    result.failed_once()
    result.says("wmma does not compile: These kernels use cp.async: compile for sm_80 or newer.", "--kgate-arch")


def test_architecture_that_is_none_is_refused_at_once(play):
    result = play("", "--kgate-arch=hopper")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("--kgate-arch cannot be 'hopper'. It takes a GPU architecture as nvcc names it, such as sm_90a.")


def test_source_that_does_not_compile_shows_the_whole_output_once_with_the_command(play, folder):
    write_kernel(folder, "return nonsense;")
    body = BUILD.replace("KERNEL", '"mine.cpp"')
    result = play(body + body.replace("test_mistake", "test_again"))
    assert result.outcomes == {"passed": 2, "failed": 2}
    result.lost_nothing()
    result.says("mine does not compile: ", "'nonsense' was not declared", "Correct the source.")
    assert re.search(r"^\$ \S*(c|g|clang)\+\+ .*mine\.cpp -o mine\.so", result.lines, re.MULTILINE)
    assert len(re.findall(r"^\$ ", result.lines, re.MULTILINE)) == 1
    assert result.text.count("In function 'int kgate_sdpa(") == 1
    result.says("The first failure of this build shows the whole output.")


@pytest.mark.usefixtures("nvcc")
def test_cuda_source_that_does_not_compile_shows_nvccs_words(play, folder):
    write_kernel(folder, "return nonsense;", "mine.cu")
    result = play(BUILD.replace("KERNEL", '"mine.cu"'), device="gpu")
    result.failed_once()
    result.says('identifier "nonsense" is undefined', "nvcc -ccbin", "Correct the source.")


def test_source_without_the_entry_point_is_told_what_to_define(play, folder):
    (folder.path / "mine.cpp").write_text("int forgotten;\n")
    result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    result.failed_once()
    result.says("it has no function kgate_sdpa", 'include "sdpa.h"')


def test_knob_value_that_the_source_rejects_is_said_in_the_sources_words(play):
    result = play(BUILD.replace("KERNEL", '"host", BLOCK_M=7'))
    result.failed_once()
    result.says(
        "BLOCK_M must be a multiple of 16 from 16 to 512.", "Choose other knobs; the source says which it takes."
    )


def test_unknown_knob_is_told_the_close_match(play):
    result = play(BUILD.replace("KERNEL", '"host", block_m=64'))
    result.failed_once()
    result.says("host has no knob 'block_m'. Did you mean 'BLOCK_M'?", "BLOCK_N=64 (keys per tile)")


def test_knob_that_is_no_integer_is_said(play):
    result = play(BUILD.replace("KERNEL", '"host", BLOCK_M="64"'))
    result.failed_once()
    result.says("The knob BLOCK_M of host must be an integer, got '64'.", "It is 64 by default")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wmna", "There is no implementation 'wmna'. Did you mean 'wmma'? Choose one of: host, custom_v3, wmma,"),
        ("hopper", "The implementation 'hopper' is planned, there is no kernel yet"),
        ("mine.cu", "mine.cu can't be read: No such file or directory. Check the path"),
        ("mine.py", "mine.py is not a kernel source: its name ends in neither .cu (CUDA) nor .cpp (host)."),
    ],
    ids=["misspelt", "planned", "missing file", "other suffix"],
)
def test_kernel_that_is_not_there_is_said_with_those_that_are(play, name, message):
    result = play(BUILD.replace("KERNEL", repr(name)))
    result.failed_once()
    result.says(message)


@pytest.mark.parametrize("asked", [False, True], ids=["in passing", "by name"])
def test_kernel_whose_library_is_missing_is_skipped_unless_it_was_asked_for(play, monkeypatch, asked):
    nowhere = vendor.Library("cuBLAS", ("libkgate_nowhere.so.1",), (), "pip install nowhere")
    monkeypatch.setitem(vendor.KNOWN, "cublas", nowhere)
    result = play(BUILD.replace("KERNEL", '"cublas"'), "-rs", *["--kgate-impl=cublas"] * asked, device="gpu")
    assert result.outcomes == ({"passed": 2, "failed": 1} if asked else {"passed": 2, "skipped": 1})
    result.says("cublas needs cuBLAS: libkgate_nowhere.so.1: cannot open shared object file", "pip install nowhere.")


def test_cache_that_cannot_be_used_is_named_with_its_variable(play, folder, monkeypatch):
    (folder.path / "file").touch()
    monkeypatch.setenv("KGATE_CACHE_DIR", str(folder.path / "file" / "cache"))
    write_kernel(folder, "return 0;")
    result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    result.failed_once()
    result.says("The build cache in", "can't be used: Not a directory.", "Set KGATE_CACHE_DIR to a directory")


@pytest.mark.parametrize("mode", [0o500, 0o000], ids=["unwritable", "unreadable"])
def test_cache_without_permission_is_named_with_its_variable(play, folder, monkeypatch, tmp_path_factory, mode):
    closed = tmp_path_factory.mktemp("closed")  # outside of what pytest collects
    closed.chmod(mode)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write everywhere")
    monkeypatch.setenv("KGATE_CACHE_DIR", str(closed))
    write_kernel(folder, "return 0;")
    try:
        result = play(BUILD.replace("KERNEL", '"mine.cpp"'))
    finally:
        closed.chmod(0o700)
    result.failed_once()
    result.says("The build cache in", "can't be used: Permission denied.", "Set KGATE_CACHE_DIR to a directory")


# -------------------------------------------------------------------------------------------------------- candidates


def test_candidate_that_raises_is_shown_with_its_own_frames_only(play):
    result = play("""
    def helper(x):
        raise ValueError("tile is empty")

    def broken(x):
        return helper(x)

    def test_mistake(kbench):
        kbench(broken, RELU)
    """)
    result.failed_once("broken")
    result.says(
        "ERROR: broken",
        "The candidate raised ValueError: tile is empty.",
        "Traceback, without the plugin's own frames:",
    )
    result.says("in broken return helper(x)", 'in helper raise ValueError("tile is empty")')


def test_candidate_that_raises_only_while_timed_is_an_error_with_a_record(play):
    result = play(
        """
        calls = []

        def broken(x):
            calls.append(1)
            if len(calls) > 20:
                raise ValueError("scratch is used up")
            return torch.relu(x)

        def test_mistake(kbench):
            kbench(broken, RELU)
        """,
        device="host",
    )
    result.failed_once("broken")
    result.says("ERROR: broken", "raised ValueError: scratch is used up.", "in broken raise ValueError(")
    assert result.records[1]["correctness"]["verdict"] == "PASS"


@pytest.mark.parametrize(
    ("part", "function", "message"),
    [
        ("reference", "lambda x: (x, x)", "The problem's reference returned tuple, not a tensor."),
        ("exact", "lambda x: None", "The problem's exact returned NoneType, not a tensor."),
        ("exact", "lambda x: x.double().sum(0)", "The problem's exact returned shape (64,), its reference (64, 64)."),
        ("reference", "{}", "None of the references of relu 64x64 runs on cpu (it names none)."),
        ("reference", "'torch.relu'", "The reference is not callable: got str."),
    ],
)
def test_problem_that_is_none_is_told_what_its_parts_return(play, part, function, message):
    result = play(f"""
    import dataclasses

    def test_mistake(kbench):
        kbench(good, dataclasses.replace(RELU, {part}={function}))
    """)
    assert result.outcomes["failed"] == 1
    result.says(message)


@pytest.mark.parametrize("part", ["reference", "exact", "inputs"])
def test_problem_whose_own_function_raises_names_that_function(play, part):
    result = play(f"""
    import dataclasses

    def broken(*tensors):
        raise ValueError("not this shape")

    def test_mistake(kbench):
        kbench(good, dataclasses.replace(RELU, {part}=broken))
    """)
    result.failed_once("good")
    whose = {"reference": "The reference", "exact": "The problem's exact", "inputs": "The problem's inputs"}[part]
    result.says("ERROR: good", f"{whose} raised ValueError: not this shape.", "in broken raise ValueError(")


def test_candidate_that_hangs_in_python_fails_and_the_session_goes_on(play):
    result = play(
        """
        def endless(x):
            while True:
                pass

        def test_mistake(kbench):
            kbench(endless, RELU)
        """,
        "--kgate-timeout=0.5",
    )
    result.failed_once("endless")
    result.says("The candidate hung: the check of relu 64x64 did not end within 0.5 s", "--kgate-timeout")
    result.says("it was in endless, test_it.py line")


STUCK = """
def test_mistake(kbench, sdpa_oracle, kernels):
    kbench(kernels("mine.cpp"), sdpa_oracle(SMALL, dtype="float32"))
"""


@pytest.mark.skipif(NOT_POSIX, reason="needs POSIX signals")
def test_kernel_that_hangs_in_native_code_ends_the_session_and_keeps_the_records(play, folder):
    write_kernel(folder, "for (;;) usleep(1000);")
    shorter_grace = "\nimport pytest_kgate.watchdog\npytest_kgate.watchdog._GRACE_SECONDS = 0.5\n"
    result = play(STUCK, "--kgate-timeout=1", apart=True, conftest=shorter_grace)
    assert result.status not in (0, pytest.ExitCode.TESTS_FAILED)
    assert result.names == ["before"]
    result.says("pytest-kgate: The candidate hung: the check of sdpa 1x2x32x16 float32 did not end within 1 s")
    result.says("so the session ends here.", "The records so far are in", "records.json")
    result.says("Not run: test_it.py::test_after.")
    result.says("Deselect the test to run the others: test_it.py::test_mistake")


def test_kernel_that_crashes_leaves_the_records_so_far(play, folder):
    write_kernel(folder, "*static_cast<volatile int*>(nullptr) = 1; return 0;")
    result = play(STUCK, apart=True)
    assert result.status in (-signal.SIGSEGV, 128 + signal.SIGSEGV)
    assert result.names == ["before"]
    result.says("Segmentation fault", "test_mistake")  # pytest's own faulthandler tells where


def test_crashed_workers_are_replaced_and_their_records_kept(play, folder):
    pytest.importorskip("xdist", reason="needs pytest-xdist")
    write_kernel(folder, "*static_cast<volatile int*>(nullptr) = 1; return 0;")
    exits = """
    def test_exits(kbench):
        import os
        kbench(lambda x: os._exit(3), RELU)
    """
    result = play(STUCK + textwrap.dedent(exits), "-n2", apart=True)
    assert result.outcomes["failed"] == 2
    assert sorted(result.names) == ["after", "before"]
    result.says("crashed while running 'test_it.py::test_mistake'", "crashed while running 'test_it.py::test_exits'")


def test_candidate_that_asks_for_too_much_memory_is_told_to_shrink(play):
    result = play(
        """
        def greedy(x):
            torch.empty(2**50, dtype=torch.uint8)

        def test_mistake(kbench):
            kbench(greedy, RELU)
        """,
        device="host",
    )
    result.failed_once("greedy")
    result.says("The candidate ran out of host memory: 1,048,576.0 GiB were asked for at once.", "Use a smaller shape")
    result.says("in greedy torch.empty(2**50")


@pytest.mark.parametrize(
    ("answer", "happened", "todo"),
    [
        ("None", "The candidate returned nothing.", "Return the output tensor, or take a parameter `out`"),
        ("3.0", "The candidate returned a float, not a tensor.", "Return a torch tensor"),
        ("torch.relu(x), x", "The candidate returned a tuple, not a tensor.", "Return a torch tensor"),
        ("torch.relu(x)[1:]", "output has shape (63, 64), but the problem asks for (64, 64).", "like the first input"),
        ("torch.relu(x).half()", "output has dtype torch.float16, but the problem asks for torch.float32.", "Allocate"),
        ("x", "The candidate's output shares memory with its input 0.", "Write to memory of its own"),
        ("x.mul_(2).relu()", "The candidate changed its input 0.", "Leave the inputs as they are"),
    ],
    ids=["none", "number", "tuple", "shape", "dtype", "aliasing", "changed input"],
)
def test_answer_that_is_none_is_told_what_an_answer_is(play, answer, happened, todo):
    result = play(f"""
    def odd(x):
        return {answer}

    def test_mistake(kbench):
        kbench(odd, RELU)
    """)
    result.failed_once("odd")
    assert result.records[1]["verdict"] == "ERROR"
    result.says(happened, todo)


def test_nan_in_the_output_is_wrong_and_named(play):
    result = play("""
    def broken(x):
        return torch.relu(x) / 0 * 0

    @pytest.mark.allclose(1e-3)
    def test_mistake(kbench):
        kbench(broken, RELU)
    """)
    result.failed_once("broken")
    assert result.records[1]["timing"] is None
    result.says("WRONG: broken", "the output holds NaN or Inf", "Every element is NaN or Inf.")


def test_output_that_is_never_written_is_wrong_and_named(play):
    result = play("""
    def lazy(x, out):
        pass

    @pytest.mark.speedup(0.95)
    def test_mistake(kbench):
        kbench(lazy, RELU)
    """)
    result.failed_once("lazy")
    result.says("WRONG: lazy", "the likeliest cause is an output that is never written")


def test_non_contiguous_input_of_a_kernel_is_named(play):
    result = play("""
    import dataclasses

    def test_mistake(kbench, sdpa_oracle, kernels):
        problem = sdpa_oracle(SMALL, dtype="float32")
        turned = lambda g: tuple(t.transpose(2, 3).contiguous().transpose(2, 3) for t in problem.inputs(g))
        kbench(kernels("host"), dataclasses.replace(problem, inputs=turned, hard_inputs=None))
    """)
    result.failed_once("host")
    result.says("host: the last dimension of q is not contiguous (stride (1024, 512, 1, 32)).", "Pass q.contiguous().")


def test_dtype_that_a_kernel_does_not_take_is_named(play):
    result = play("""
    import dataclasses

    def test_mistake(kbench, sdpa_oracle, kernels):
        problem = sdpa_oracle(SMALL, dtype="float32")
        doubled = lambda g: tuple(t.double() for t in problem.inputs(g))
        kbench(kernels("host"), dataclasses.replace(problem, inputs=doubled, hard_inputs=None))
    """)
    result.failed_once("host")
    result.says("host: q has the dtype torch.float64.", "It takes float32, float16, bfloat16.")


def test_candidate_that_ignores_the_mask_is_told_which_parameter_it_lacks(play):
    result = play("""
    def forgetful(q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

    @pytest.mark.allclose(1e-3)
    def test_mistake(kbench, sdpa_oracle):
        kbench(forgetful, sdpa_oracle(Shape(1, 2, 32, 16, causal=True), dtype="float32"))
    """)
    result.failed_once("forgetful")
    result.says(
        "WRONG: forgetful", "The candidate has no parameter `is_causal`, so it was called without is_causal=True"
    )


# ------------------------------------------------------------------------------------------------ markers and calls


@pytest.mark.parametrize(
    ("marker", "complaint", "usage"),
    [
        ("speedup(0)", "bound must be a positive finite number, not 0", "speedup(bound, *, quantile=0.5, conf"),
        ("speedup(-1)", "bound must be a positive finite number, not -1", "speedup(bound, *"),
        ("speedup('fast')", "bound must be a positive finite number, not 'fast'", "speedup(bound, *"),
        ("speedup(float('nan'))", "bound must be a positive finite number, not nan", "speedup(bound, *"),
        ("speedup()", "missing a required argument: 'bound'", "speedup(bound, *"),
        ("speedup(0.9, 0.5)", "too many positional arguments", "speedup(bound, *"),
        ("speedup(0.9, quantil=0.5)", "got an unexpected keyword argument 'quantil'", "speedup(bound, *"),
        ("speedup(0.9, quantile=50)", "quantile must be a number between 0 and 1, not 50", "speedup(bound, *"),
        ("allclose(0)", "atol and rtol cannot both be 0", "allclose(atol, rtol=0.0, *, factor=None)"),
        ("perf(budgett=3)", "got an unexpected keyword argument 'budgett'", "perf(*, timer, cache, budget,"),
        ("perf(budget='soon')", "budget (marker) cannot be 'soon'. It takes a positive number of seconds", "perf(*"),
    ],
)
def test_marker_that_makes_no_sense_stops_the_collection_with_its_usage(play, marker, complaint, usage):
    result = play(f"""
    @pytest.mark.{marker}
    def test_mistake(kbench):
        kbench(good, RELU)
    """)
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("test_it.py::test_mistake: @pytest.mark.", complaint, f"Usage: @pytest.mark.{usage}")


CALLS = {
    "swapped": (
        "kbench(RELU, good)",
        "kbench was given the problem first.",
        "Write kbench(candidate, problem).",
    ),
    "shape for a problem": (
        "kbench(good, Shape(1, 2, 32, 16))",
        "kbench takes a Problem as its second argument, got Shape.",
        "Make one with sdpa_oracle(shape)",
    ),
    "tuple for a shape": (
        "sdpa_oracle((1, 2, 32, 16))",
        "sdpa_oracle takes a Shape, got (1, 2, 32, 16).",
        "Write Shape(batch, heads, seqlen, head_dim, causal=False).",
    ),
    "name for a kernel": (
        "kbench('wmma', RELU)",
        "The candidate 'wmma' names no function.",
        'kernels("name")',
    ),
    "result for a callable": (
        "kbench(good(torch.ones(64, 64)), RELU)",
        "The candidate is not callable: got Tensor.",
        "Pass a function",
    ),
    "unknown dtype": (
        "sdpa_oracle(SMALL, dtype='fp16')",
        "sdpa_oracle has no dtype 'fp16'.",
        "Use one of float16, bfloat16, float32.",
    ),
    "torch dtype": (
        "sdpa_oracle(SMALL, dtype=torch.int8)",
        "sdpa_oracle has no dtype torch.int8.",
        "Use one of float16, bfloat16, float32.",
    ),
    "unknown backend": (
        "sdpa_oracle(SMALL, backend='fast')",
        "There is no SDPA backend 'fast'.",
        "Use fastest or one of flash",
    ),
    "unknown keyword": (
        "kbench(good, RELU, budgett=3)",
        "budgett (kbench) is not an option of one test.",
        "These are:",
    ),
    "bad bound": (
        "kbench(good, RELU, speedup=0)",
        "kbench(speedup=...) cannot be 0.",
        "It takes a positive number.",
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_call_that_makes_no_sense_is_told_how_to_write_it(play, call):
    code, happened, todo = call
    result = play(f"""
    def test_mistake(kbench, sdpa_oracle):
        {code}
    """)
    result.failed_once()
    result.says(happened, todo)


def test_shape_with_an_extent_of_zero_is_named_at_the_users_own_line(play):
    result = play("""
    def test_mistake(kbench, sdpa_oracle):
        kbench(good, sdpa_oracle(Shape(1, 2, 0, 16)))
    """)
    result.failed_once()
    result.says("ValueError: Shape.seqlen must be a positive integer, got 0")
    assert re.search(r"test_it\.py:\d+: ValueError", result.text)


def test_gate_without_a_race_fails_and_says_so(play):
    result = play("""
    @pytest.mark.speedup(0.95)
    def test_mistake():
        good(torch.ones(3))
    """)
    result.failed_once()
    result.says("never called kbench, so nothing was judged.", "Call kbench(candidate, problem) in the test")


def test_two_calls_in_one_test_are_allowed_and_a_late_failure_loses_neither(play):
    result = play("""
    @pytest.mark.allclose(1e-6)
    def test_mistake(kbench):
        kbench(good, RELU, name="first")
        kbench(lambda x: torch.relu(x) + 1, RELU, name="second")
    """)
    result.failed_once("first", "second")
    result.says("WRONG: second")


# ---------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("flag", "environ", "ini", "source"),
    [
        ("--kgate-budget=soon", "", "", "--kgate-budget cannot be 'soon'."),
        ("", "soon", "", "KGATE_BUDGET cannot be 'soon'."),
        ("", "", "soon", "kgate_budget in the ini file cannot be 'soon'."),
    ],
    ids=["command line", "environment", "ini"],
)
def test_bad_value_of_an_option_names_where_it_came_from(play, folder, monkeypatch, flag, environ, ini, source):
    if environ:
        monkeypatch.setenv("KGATE_BUDGET", environ)
    if ini:
        folder.makeini(f"[pytest]\nkgate_budget = {ini}\n")
    result = play("", *([flag] if flag else []))
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says(source, "It takes a positive number of seconds, such as 10.")


def test_wall_timer_with_a_cold_cache_names_both_and_the_ways_out(play, monkeypatch):
    monkeypatch.setenv("KGATE_CACHE", "cold")
    result = play("", "--kgate-timer=wall")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("timer=wall (--kgate-timer) cannot go with cache=cold (KGATE_CACHE)")
    result.says("Use cache=hot, or a timer of a CUDA device: graph or queue.")


def test_cuda_timer_on_the_host_is_refused(play):
    result = play("", "--kgate-timer=graph", device="host")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("timer=graph (--kgate-timer) cannot go with device=host", "Use timer=auto or timer=wall there.")


def test_cold_cache_on_the_host_is_refused_by_the_race(play):
    result = play(
        """
        def test_mistake(kbench):
            kbench(good, RELU, cache="cold")
        """,
        device="host",
    )
    result.failed_once()
    result.says("The host timer measures with hot caches only.", "Leave --kgate-cache at hot.")


# ------------------------------------------------------------------------------------------- records, and their file


def test_records_in_a_directory_are_refused_before_anything_runs(play, folder):
    folder.mkdir("results")
    result = play("", "--kgate-json=results")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("--kgate-json names a directory:", "Name a file in it: results/records.json.")


def test_file_of_something_else_is_not_overwritten_by_records(play, folder):
    (folder.path / "notes.json").write_text('{"mine": 1}')
    result = play("", "--kgate-json=notes.json")
    assert result.status == pytest.ExitCode.USAGE_ERROR
    result.says("notes.json exists and holds something else than records; it was left as it is.", "another path")
    assert (folder.path / "notes.json").read_text() == '{"mine": 1}'


@pytest.mark.skipif(NOT_POSIX, reason="needs POSIX resource limits")
def test_full_disk_while_writing_saves_the_rest_elsewhere_and_says_where(play, folder, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(folder.path))
    result = play(
        """
        def test_mistake(kbench):
            import os, resource
            kbench(good, RELU, name="first")
            kbench(good, RELU, name="second")  # the limit holds for every file, and two records must fit into another
            room = os.path.getsize("records.json") + 1000
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            kbench(good, RELU, name="too much")
        """,
        apart=True,
    )
    assert result.outcomes == {"passed": 3}
    result.says("records.json could not be written (File too large); 2 of 5 records are in")
    (elsewhere,) = folder.path.glob("kgate-records-*.json")
    assert result.names == ["before", "first", "second"]
    assert [record["candidate"]["name"] for record in load(elsewhere)] == ["too much", "after"]


@pytest.mark.skipif(NOT_POSIX, reason="needs POSIX signals")
def test_interrupt_in_mid_race_leaves_the_records_so_far(folder):
    folder.makepyfile(
        test_it=BEFORE
        + textwrap.dedent("""
        import pathlib
        import random
        import time

        def slow(x):
            time.sleep(random.uniform(0.001, 0.02))  # never precise enough to stop by itself before the signal comes
            slow.calls = getattr(slow, "calls", 0) + 1
            if slow.calls == 50:
                pathlib.Path("racing").touch()
            return torch.relu(x)

        def test_mistake(kbench):
            kbench(slow, RELU, budget=60)
        """)
        + AFTER
    )
    command = [sys.executable, "-m", "pytest", "--kgate-device=host", "--kgate-json=records.json"]
    process = folder.popen(command, subprocess.PIPE, subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        latest = time.monotonic() + 60
        while not (folder.path / "racing").exists() and process.poll() is None:
            assert time.monotonic() < latest
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    result = seen(folder.path / "records.json", printed.decode(), process.returncode)
    assert result.status == pytest.ExitCode.INTERRUPTED
    assert result.names == ["before"]
    assert re.search(r"test_it\.py:\d+: KeyboardInterrupt", result.text)
    result.says("records: ", "records.json")

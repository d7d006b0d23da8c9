"""`kgate watch`: whatever is saved is judged anew, and no candidate, error or crash ends the watching."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from pages import CUDA
from sample_records import against_record
from sample_records import error_record
from sample_records import speed_record
from sample_suite import RELU
from sample_suite import fake_device

from pytest_kgate.evaluation.verb.outcome import answer_of
from pytest_kgate.evaluation.verb.session import Ended
from pytest_kgate.evaluation.verb.watch import files
from pytest_kgate.evaluation.verb.watch.line import of_run
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.text.failure import failure_text

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the verb needs Linux")

_PATIENCE_SECONDS = 300.0
"""For a line to come, on a machine that does much else."""

_VERDICT = re.compile(r"^\d\d:\d\d:\d\d  (?P<verdict>[A-Z]+) .* s(  |$)")

TEST = (
    RELU
    + """
from mine import relu

@pytest.mark.speedup(0.95)
def test_it(kbench, kernels):
    kernels("kernel.cpp")
    kbench(relu, RELU)
"""
)

RIGHT = "import os, pathlib, time, torch\ndef relu(x): return torch.relu(x)\n"

CUDA_TEST = """
import pytest
from pytest_kgate import Shape

@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(1000)
def test_it(kbench, sdpa_oracle, kernels):
    kbench(kernels("mine.cu"), sdpa_oracle(Shape(1, 8, 512, 64)))
"""

KERNEL = """#include "sdpa.h"
#include "tile.h"
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs*, void*) { return TILE; }
KGATE_EXPORT const char* kgate_message(void) { return ""; }
"""


class Watched:
    """`kgate watch` in a folder: what it prints, line by line."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self._lines: queue.Queue[str | None] = queue.Queue()
        command = [program, "-u", "-m", "pytest_kgate.cli", "watch", "test_it.py::test_it"]
        environment = {**os.environ, "COLUMNS": "80", "TMPDIR": str(folder / "tmp")}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, ends: Callable[[str], object]) -> list[str]:
        """The lines up to the first one that this holds for."""
        seen: list[str] = []
        while not (seen and ends(seen[-1])):
            line = self._lines.get(timeout=_PATIENCE_SECONDS)
            assert line is not None, "\n".join(["It ended, after:", *seen])
            seen.append(line)
        return seen

    def says(self, verdict: str, *reasons: str) -> str:
        """The next line with a verdict, which must be this one; then, in their order, lines with these reasons."""
        line = self.until(_VERDICT.match)[-1]
        found = _VERDICT.match(line)
        assert found is not None
        assert found["verdict"] == verdict, line
        for reason in reasons:
            self.until(lambda seen, reason=reason: reason in seen)
        return line

    def save(self, name: str, text: str, same_second_as: str | None = None) -> None:
        """As an editor does: another file in the place, perhaps with a time within the same second as another's."""
        part = self.folder / "part"
        part.write_text(text)
        if same_second_as is not None:
            second, rest = divmod((self.folder / same_second_as).stat().st_mtime_ns, 10**9)
            os.utime(part, ns=(second * 10**9, second * 10**9 + (rest + 1) % 10**9))
        part.replace(self.folder / name)


FILES = {
    "test_it.py": TEST,
    "mine.py": RIGHT,
    "kernel.cpp": KERNEL,
    "tile.h": "#define TILE 0\n",
    "conftest.py": fake_device(0.8),
    "pytest.ini": "[pytest]\nfilterwarnings = error::pytest.PytestAssertRewriteWarning\n",
}


@pytest.fixture
def watched(tmp_path: Path, warm_program: str) -> Iterator[Watched]:
    with watching(tmp_path, FILES, warm_program) as found:
        yield found


@contextlib.contextmanager
def watching(folder: Path, contents: Mapping[str, str], program: str) -> Iterator[Watched]:
    """`kgate watch` in a folder with these files, while the block lasts."""
    for name, text in contents.items():
        (folder / name).write_text(text)
    (folder / "tmp").mkdir()
    found = Watched(folder, program)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()


def test_each_save_is_judged_and_nothing_is_left(watched: Watched) -> None:
    folder = watched.folder
    first = watched.until(_VERDICT.match)
    assert first[0] == "Judging test_it.py::test_it at each save; Ctrl-C ends it."
    assert "PASS  0.8" in first[-1]
    watched.until(lambda line: re.match(r"Watching \d+ files: conftest.py, kernel.cpp, mine.py, ", line))

    # Within the same second and of the same size: what Python compiled of the first would pass for the second.
    watched.save("conftest.py", fake_device(1.2), same_second_as="conftest.py")
    line = watched.says("FAIL", "demanded  latency ratio below 0.95", "off by")
    assert re.search(r"1\.\d+ \[.*\], bound 0.95  .* s  conftest.py$", line)

    watched.save("mine.py", RIGHT.replace("return", "os.abort();"))
    watched.says("ERROR", "crashed: SIGABRT")

    begun = folder / "begun"
    watched.save("mine.py", RIGHT.replace("return", "pathlib.Path('begun').touch(); time.sleep(9999);"))
    _wait_for(begun.exists)
    watched.save("tile.h", "#define TILE nothing\n")
    watched.until(lambda line: line.endswith("saved while it was judged: begun anew"))
    assert watched.says("ERROR", "kernel does not compile", "nothing").endswith("tile.h")

    begun.unlink()
    watched.save("tile.h", "#define TILE 0\n")
    _wait_for(begun.exists)
    watched.process.send_signal(signal.SIGINT)
    assert watched.process.wait(_PATIENCE_SECONDS) == 0
    assert os.listdir(folder / "tmp") == []
    assert not (folder / "__pycache__").exists()


def _wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_that_is_ready_to_fork_has_not_touched_the_gpu(warm_program: str) -> None:
    code = "import torch; from pytest_kgate.evaluation.verb.watch import command; print(torch.cuda.is_initialized())"
    done = subprocess.run([warm_program, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def ended(*records: Record, told: str = "", outcome: str = "failed", said: str = "") -> Ended:
    """A session with these records, in which pytest has told this of the test, or has only said something."""
    return Ended(
        status=1,
        steps=["build", "check", "time"] * len(records),
        stuck="",
        reports=[] if said else [{"outcome": outcome, "told": told}],
        records=records,
        searches=[],
        builds=[],
        speed_gates=[],
        damaged="",
        said=said,
    )


def test_races_against_another_revision_can_fail_an_answer_and_give_it_no_score() -> None:
    own = speed_record(ratio=0.5)
    unraced = {**against_record(), "gates": [], "verdict": "NOT MEASURED"}
    passed = answer_of(replace(ended(own, unraced, outcome="passed"), status=0), 60.0)
    assert (passed["verdict"], passed["passed"]) == ("PASS", True)
    assert passed["score"] == pytest.approx(2.0, rel=0.05)
    slower = answer_of(ended(own, against_record(ratio=1.2)), 60.0)
    assert (slower["verdict"], slower["passed"], slower["score"]) == ("FAIL", False, passed["score"])
    assert len(slower["records"]) == 2


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_terminal(width: int) -> None:
    failed = ended(speed_record(ratio=1.2), speed_record(ratio=0.8, call=1))
    shown = of_run(answer_of(failed, 60.0), failed, "12:00:00", 2.34, [Path("my_attention.cu"), Path("b.cuh")], width)
    first, *reason = shown.splitlines()
    assert re.match(r"12:00:00  FAIL  1\.\d+ \[1\.\d+, 1\.\d+\], bound 0\.95  worst of 2  2\.3 s  my_", first)
    assert first.endswith("my_attention.cu and 1 other") == (width == 120)
    assert max(map(len, [first, *reason])) <= width
    assert [line.split()[0] for line in reason[1:4]] == ["demanded", "measured", "off"]
    assert reason[-1].startswith("  ... and ")


def test_what_was_not_judged_says_why() -> None:
    skipped = ended(told="Skipped: mma needs a CUDA device", outcome="skipped")
    shown = of_run(answer_of(skipped, 60.0), skipped, "12:00:00", 0.5, [], 80)
    assert shown.splitlines() == ["12:00:00  SKIPPED  0.5 s", "  Skipped: mma needs a CUDA device"]


def told_of(*raised: tuple[Record, str]) -> str:
    """What pytest tells of a test whose calls ended so, each with the last line of a traceback, or without one."""
    head = "Traceback, without the plugin's own frames:"
    return "\n\n".join(f"{failure_text(one)}\n\n{head}\n{last}" if last else failure_text(one) for one, last in raised)


@pytest.mark.parametrize("in_one_test", [True, False])
@pytest.mark.parametrize(("shape", "raised"), [("", "RuntimeError: no"), ("KeyError: 1", "")])
def test_traceback_stands_below_its_own_call(in_one_test: bool, shape: str, raised: str) -> None:
    first = error_record("test_it.py::test_it[shape]", "The output has the wrong shape.")
    second = error_record("test_it.py::test_it[shape]" if in_one_test else "test_it.py::test_it[raises]", "It raised.")
    both = ended(first, second)
    reports = [told_of((first, shape), (second, raised))] if in_one_test else [told_of((first, shape))]
    reports += [] if in_one_test else [told_of((second, raised))]
    tests = dict.fromkeys(record["test"] for record in (first, second))
    both = replace(both, reports=[{"test": test, "told": told} for test, told in zip(tests, reports, strict=True)])
    answer = answer_of(both, 60.0)
    for shown in (answer["feedback"], of_run(answer, both, "12:00:00", 0.5, [], 80)):
        assert "wrong shape" in shown
        assert ("KeyError: 1" in shown) == bool(shape)
        assert "RuntimeError" not in shown


def test_path_in_a_compilers_error_is_not_broken() -> None:
    path = f"/{'a-folder/' * 10}mine.cpp:2:36:"
    broken = ended(told=f"{path} error: no such thing")
    assert f"{path}\n" in of_run(answer_of(broken, 60.0), broken, "12:00:00", 0.5, [], 80)


def test_a_session_that_did_not_begin_is_not_blamed_on_the_test() -> None:
    broken = ended(said="Traceback:\npytest.PytestConfigWarning: Unknown config option: mine\n")
    shown = of_run(answer_of(broken, 60.0), broken, "12:00:00", 0.5, [], 80)
    assert "kbench" not in shown
    assert shown.endswith("Unknown config option: mine")


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    sizes = iter([1, 2, 3, 3, 4])
    looks: list[int] = []

    def look() -> files.Stamps:
        looks.append(next(sizes))
        return {tmp_path: (0, looks[-1], 0)}

    assert files.settled(look, lambda: None) == {tmp_path: (0, 3, 0)}
    assert looks == [1, 2, 3, 3]


@pytest.mark.gpu
def test_a_cuda_kernel_is_judged_at_each_save(tmp_path: Path) -> None:
    """Each fork has the GPU to itself, and PyTorch can use it there."""
    with watching(tmp_path, {"test_it.py": CUDA_TEST, "mine.cu": CUDA}, sys.executable) as watched:
        watched.says("PASS")
        watched.save("mine.cu", CUDA.replace("/ weight)", "* weight)"))
        assert watched.says("WRONG").endswith("mine.cu")
        watched.save("mine.cu", CUDA)
        watched.says("PASS")

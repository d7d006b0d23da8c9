"""Candidates by name: what runs in which process, and what is said where a name can't be had."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import pytest_kgate.bench.call  # noqa: F401  (pytester forgets what its sessions import, so each would load it again)
from pytest_kgate.device.host import HostDevice
from pytest_kgate.device.protocol import Workload
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.isolation import kept_answers
from pytest_kgate.integrity.isolation.candidate import Isolation
from pytest_kgate.integrity.isolation.candidate_name import CandidateFunction
from pytest_kgate.integrity.isolation.kept_answers import KeepsAnswers
from pytest_kgate.integrity.isolation.kept_answers import KeptAnswers
from pytest_kgate.integrity.isolation.process.judge.guard import children
from pytest_kgate.integrity.isolation.shared_memory.host import HostBlock
from pytest_kgate.integrity.isolation.shared_memory.host import HostWindow
from pytest_kgate.integrity.isolation.shared_memory.layout import FILL
from pytest_kgate.integrity.isolation.shared_memory.layout import Layout
from pytest_kgate.problems.trees.tree import storage_span
from pytest_kgate.statistics.estimates import Interval
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.system import procfs

pytestmark = pytest.mark.usefixtures("warm")

GENERATED = """
import os
from pathlib import Path
import numpy as np
import torch

import pytest_kgate.bench.call  # noqa: F401  (pytester forgets what its sessions import, so each would load it again)

Path(os.environ["SEEN_BY"]).open("a").write(f"{os.getpid()} ") if "TMPDIR" not in os.environ else None

def relu(x):
    return torch.relu(x)
"""

TESTS = """
import pytest
import numpy as np
import torch

import pytest_kgate.bench.call  # noqa: F401  (pytester forgets what its sessions import, so each would load it again)
from pytest_kgate import Problem
from pytest_kgate import Shape

RELU = Problem("relu", lambda g: (torch.randn(64, generator=g),), torch.relu, lambda x: torch.relu(x.double()))

def test_it(kbench, kernels, sdpa_oracle):
    BODY
"""


@pytest.fixture
def play(pytester, monkeypatch, build_cache):
    """One test with this body, in a session with these arguments; the candidate's file notes who imports it."""
    monkeypatch.setenv("SEEN_BY", str(pytester.path / "seen"))
    monkeypatch.setenv("KGATE_CACHE_DIR", str(build_cache))
    monkeypatch.delenv("TMPDIR", raising=False)

    def run(body, *arguments):
        pytester.makepyfile(generated=GENERATED, test_it=TESTS.replace("BODY", body))
        return pytester.runpytest_inprocess("--kgate-device=host", "--kgate-budget=2", *arguments)

    return run


def test_named_candidate_is_loaded_here_without_isolation(play, pytester):
    play('assert kbench("generated.py:relu", RELU)["candidate"]["name"] == "relu"').assert_outcomes(passed=1)
    assert (pytester.path / "seen").read_text() == f"{os.getpid()} "


def test_judging_process_does_not_load_an_isolated_candidate(play, pytester):
    body = 'assert kbench("generated.py:relu", RELU)["isolation"]["verified"] == 0'
    before, began = children(), time.clock_gettime(time.CLOCK_BOOTTIME)  # other tests leave helpers behind
    play(body, "--kgate-isolate").assert_outcomes(passed=1)
    assert not (pytester.path / "seen").exists()
    # What helpers had started before becomes a child of this process as they end.
    started = {pid: int(procfs.stat(pid)[1][19]) / os.sysconf("SC_CLK_TCK") for pid in children() - before}
    left = [pid for pid, seconds in started.items() if seconds >= began - 0.02]  # which counts whole ticks
    assert not left, [f"{pid}: {Path(f'/proc/{pid}/cmdline').read_text()!r}" for pid in left]


def test_module_that_can_be_imported_is_a_name_too(play):
    play('kbench("generated:relu", RELU, isolate=True)').assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", [(), ("--kgate-isolate",)], ids=["in process", "isolated"])
@pytest.mark.parametrize(
    ("file", "text", "marked"),
    [
        ("kernels_of/mine.py", "from .helper import relu\n", True),
        ("kernels_of/mine.py", "from . import helper\nrelu = helper.relu\n", False),
        ("kernels_of/deep/mine.py", "from ..helper import relu\n", False),
    ],
    ids=["package", "folder", "folder above"],
)
def test_file_with_relative_imports_is_told_the_name_by_which_they_work(
    play, pytester, monkeypatch, file, text, marked, arguments
):
    package = pytester.mkdir("kernels_of")
    (package / "helper.py").write_text("import torch\ndef relu(x):\n    return torch.relu(x)\n")
    if marked:
        (package / "__init__.py").touch()
    (pytester.path / file).parent.mkdir(exist_ok=True)
    (pytester.path / file).write_text(text)
    refused = play(f'kbench("{file}:relu", RELU)', *arguments)
    refused.assert_outcomes(failed=1)
    said = " ".join(refused.stdout.str().split())
    assert "attempted relative import with no known parent package. A file that is named by its path is in no" in said
    named, folder = re.search(r'name it by its module, "(\S+)", with (\S+) on PYTHONPATH', said).groups()
    monkeypatch.setenv("PYTHONPATH", folder)
    pytester.makepyfile(test_it=TESTS.replace("BODY", f'kbench("{named}", RELU)'))
    options = ("--kgate-device=host", "--kgate-budget=2", "--import-mode=importlib", *arguments)
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)


def test_relative_import_within_a_call_is_no_fault_of_how_it_is_called(play, pytester):
    (pytester.path / "late.py").write_text("def relu(x):\n    from .helper import relu\n    return relu(x)\n")
    result = play('kbench("late.py:relu", RELU)')
    result.assert_outcomes(failed=1)
    assert "Write its relative imports without the dots" in " ".join(result.stdout.str().split())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("kbench(torch.relu, RELU)", "*--kgate-isolate needs the candidate by name*"),
        ('kbench("generated.py", RELU)', "*names no function*"),
        ('kbench("nowhere.py:relu", RELU)', "*There is no file nowhere.py*"),
        ('kbench("generated.py:gelu", RELU)', "*function gelu*"),  # the path before it may break the line
        ('kbench("generated.py:relu", dataclasses.replace(RELU, params={"f": print}))', "*params can't be sent*"),
        ('kernels("host")(1, 2, 3)', "*is isolated, and can't be called*"),
    ],
)
def test_what_can_not_be_isolated_is_refused(play, said, body):
    result = play(f"import dataclasses\n    {body}", "--kgate-isolate")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([said])


def test_built_kernel_is_opened_in_its_own_process_only(pytester, build_cache, monkeypatch):
    body = """kernel = kernels("host")
    record = kbench(kernel, sdpa_oracle(Shape(1, 2, 64, 64), dtype="float32", backend="math"))
    assert record["candidate"]["implementation"] == "host"
    assert record["correctness"]["verdict"] == "PASS" and record["isolation"]["calls_in_a_row"]
    assert str(kernel.build.path) not in open("/proc/self/maps").read()
    from pytest_kgate.build.kernel import load_kernel
    load_kernel("host")
    assert str(kernel.build.path) in open("/proc/self/maps").read()"""
    pytester.makepyfile(TESTS.replace("BODY", body))
    monkeypatch.setenv("KGATE_CACHE_DIR", str(build_cache))
    arguments = ["--kgate-device=host", "--kgate-budget=2", "--kgate-isolate"]
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=1)


def test_sanitizer_and_isolation_are_refused_together(play, pytester):
    pytester.makeconftest("import pytest\ndef pytest_itemcollected(item): item.add_marker(pytest.mark.sanitize)")
    result = play('kbench("generated.py:relu", RELU)', "--kgate-isolate")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*sanitize marker can't go with isolate*"])


def test_slots_keep_strides_and_show_what_is_written_outside_of_them():
    inputs = torch.randn(4, 6).t(), torch.arange(5, dtype=torch.int64)
    layout = Layout.from_dict(Layout.of(inputs, torch.empty(3, dtype=torch.bfloat16), 4).to_dict())
    block = torch.full((layout.nbytes,), FILL, dtype=torch.uint8)
    for call in range(4):
        places, output = layout.views(block, call)
        for place, tensor in zip(places, inputs, strict=True):
            assert (place.shape, place.stride(), place.dtype) == (tensor.shape, tensor.stride(), tensor.dtype)
            place.copy_(tensor)
        assert output.isnan().all()
        output.fill_(1)
        assert layout.first_overwritten(block, call) is None
    for column, tensor in zip(layout.columns(block), inputs, strict=True):
        assert column.dtype == tensor.dtype
        assert torch.equal(column, storage_span(tensor).expand(4, -1))
    (first, _), _ = layout.views(block, 2)
    torch.as_strided(first, (1,), (1,), first.storage_offset() + first.numel()).zero_()
    assert layout.first_overwritten(block, 1) is None
    assert layout.first_overwritten(block, 2) == layout.places[0].offset + layout.places[0].nbytes


def test_window_shows_one_block_after_the_other_at_one_address():
    window = HostWindow(8192)
    for value in (1, 2):
        block = HostBlock(8192)
        assert (block.bytes == FILL).all()
        block.bytes[5000] = value
        window.show(block.fd)
        block.close()
        assert window.bytes[5000] == value
        window.bytes[1] = 7
        assert block.bytes[1] == 7
        window.hide()


class Beside:
    """A stopwatch whose reference takes this long by itself."""

    kept = ()
    launched_by = "candidate"
    calls = 1

    def __init__(self, alone):
        self._alone = alone

    def reference_alone(self, rounds, samples):
        return np.full((rounds, samples), self._alone)


@pytest.mark.parametrize(("alone", "invalid"), [(1.0e-3, False), (0.97e-3, False), (0.9e-3, True)])
def test_gate_that_is_met_by_slowing_the_reference_down_is_not_believed(alone, invalid):
    """The ratio is below 0.9, the bound 0.95; the reference took 1 ms beside the candidate."""
    isolation = Isolation(
        CandidateFunction("a.py", "f"), {}, hash, hash, budget_seconds=2.0, device=HostDevice(), timer="auto"
    )
    isolation._stopwatch = Beside(alone)
    met = Judgement(SpeedGate(0.95), Verdict.PASS, "", 12, ratio=Interval(0.8, 0.85, 0.9, 0.95, "x"))
    assert (isolation.disturbed(np.full((2, 2), 1e-3), [met]) is not None) == invalid


def test_reference_that_is_held_back_in_half_of_the_race_is_charged_in_the_mean():
    """By the median it took 1.1 times as long as alone, which would leave a ratio of 0.55 below the bound."""
    isolation = Isolation(
        CandidateFunction("a.py", "f"), {}, hash, hash, budget_seconds=2.0, device=HostDevice(), timer="auto"
    )
    isolation._stopwatch = Beside(1e-3)
    held_back = np.full((12, 10), 1.1e-3)
    held_back[::2] = 9e-3
    held_back[0] = 1e-3
    met = Judgement(SpeedGate(0.8), Verdict.PASS, "", 12, ratio=Interval(0.3, 0.4, 0.5, 0.95, "x"))
    assert "as long as alone" in isolation.disturbed(held_back, [met])
    assert isolation.to_dict()["reference_slowed"] > 2


def test_reference_whose_slow_samples_alone_are_held_back_is_charged_where_a_gate_asks_for_them():
    isolation = Isolation(
        CandidateFunction("a.py", "f"), {}, hash, hash, budget_seconds=2.0, device=HostDevice(), timer="auto"
    )
    isolation._stopwatch = Beside(1e-3)
    held_back = np.full((12, 10), 1e-3)
    held_back[:, :2] = 2e-3
    met = Judgement(SpeedGate(1.0, quantile=0.9), Verdict.PASS, "", 12, ratio=Interval(0.5, 0.55, 0.6, 0.95, "x"))
    assert isolation.disturbed(held_back, [met]) is not None


class Kept(KeepsAnswers):
    """A stopwatch that has kept one answer of each of 96 rows."""

    launched_by = "candidate"
    calls = 1

    def __init__(self):
        self._kept = KeptAnswers(torch.zeros(1))
        for row in range(96):
            self._kept.offer(row, torch.full((1,), float(row)))


@pytest.mark.parametrize(("available", "kept"), [(0, 16), (2**14, 32), (2**20, 96)])
def test_more_large_answers_are_kept_where_memory_has_room(monkeypatch, available, kept):
    monkeypatch.setattr(kept_answers, "_KEPT_BYTES", 0)
    monkeypatch.setattr(kept_answers, "available_memory", lambda: available)
    answers = KeptAnswers(torch.zeros(8))
    for row in range(96):
        answers.offer(row, torch.zeros(8))
    assert len(answers.answers) == kept


def test_answers_of_late_rows_are_verified_even_where_time_allows_a_few_only():
    """A candidate can work in its first rows, and leave the others out."""
    isolation = Isolation(
        CandidateFunction("a.py", "f"), {}, hash, hash, budget_seconds=0.0, device=HostDevice(), timer="auto"
    )
    isolation._stopwatch = Kept()
    isolation._call = lambda inputs, output: output
    workload = Workload(lambda seed: (torch.zeros(1),), lambda inputs: torch.zeros(1))
    assert isolation.undone(workload, lambda inputs, answer: "wrong" if float(answer) > 24 else None) is not None
    assert len(isolation.to_dict()["lots"]) < 16


def test_name_is_looked_for_beside_the_test_first(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"def f(): return {folder!r}")
    assert CandidateFunction.parse("mine.py:f", (tmp_path / "two", tmp_path / "one")).load()() == "two"
    for unclear in ("mine:", "mine.py::f", "two/mine:f", ":f"):
        with pytest.raises(UsageError, match=r'names no function\.\nWrite .* or a kernel.s source, "file\.cu"'):
            CandidateFunction.parse(unclear, (tmp_path / "two", tmp_path))
    with pytest.raises(CandidateError, match="has no function"):
        CandidateFunction("os", "nothing").load()

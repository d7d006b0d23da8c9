"""The programs of docs/evaluate.md do what the page says: a search that goes by feedback, and a loop of problems."""

from __future__ import annotations

import io
import random
import runpy
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
from documented import JUDGE
from documented import OPENEVOLVE
from documented import program
from documented import write_problems

from pytest_kgate import cli

FIRST = "import torch\n\ndef candidate(x) return x * 1.0\n"
RIGHT = "import torch\n\ndef candidate(x):\n    return torch.relu(x)\n"
EVALUATIONS = 20

REPAIRS = {
    "SyntaxError": (") return", "):\n    return"),
    "exact is 0": ("return x * 1.0", "return torch.relu(x) + nothing"),
    "NameError": (" + nothing", ""),
}
"""What a stub in place of a model does to its program, by what it reads in the feedback."""

CHANGES = (
    ("):\n    return", ") return"),
    ("torch.relu(x)", "x * 1.0"),
    ("torch.relu(x)", "torch.relu(x) + nothing"),
)
"""What it tries, at random, on a program that was right: all of it is for the worse."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGATE_DEVICE", "host")
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))
    return tmp_path


def test_documented_evaluator_leads_a_search_of_20_evaluations_by_its_feedback(folder, warm, monkeypatch):
    (folder / "openevolve").mkdir()
    (folder / "openevolve" / "evaluation_result.py").write_text(OPENEVOLVE)
    (folder / "test_mine.py").write_text(JUDGE.replace("budget=1", "budget=0.5"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(subprocess, "run", _in_this_process)
    (folder / "evaluator.py").write_text(program("openevolve_evaluator.py"))
    evaluate = runpy.run_path(str(folder / "evaluator.py"))["evaluate"]
    lots, text, tried = random.Random(5), FIRST, []
    for number in range(EVALUATIONS):
        path = folder / f"program{number}.py"
        path.write_text(text)
        found = evaluate(str(path))
        feedback = found.artifacts["feedback"]
        tried.append((text, found.metrics["combined_score"], feedback))
        named = [repair for sign, repair in REPAIRS.items() if sign in feedback]
        for old, new in named or [lots.choice(CHANGES)]:
            text = text.replace(old, new)
    for text, score, heard in tried:
        # On a busy machine half a second may not settle a race: one that is undecided has a score, an invalid one none.
        unsettled = heard.startswith(("INCONCLUSIVE", "INVALID"))
        assert text == RIGHT if unsettled else (score > 0) is (text == RIGHT), heard
    assert [text == RIGHT for text, _, _ in tried[:4]] == [False, False, False, True]
    assert sum(score > 0 for _, score, _ in tried) >= 5


def _in_this_process(arguments, **_):
    """A command of `kgate`, which would take seconds to start."""
    assert arguments[:3] == [sys.executable, "-m", "pytest_kgate.cli"]
    output = io.StringIO()
    with redirect_stdout(output):
        status = cli.main(arguments[3:])
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), "")


def test_documented_loop_judges_ten_problems(folder, monkeypatch, capsys):
    write_problems(folder)
    monkeypatch.setenv("KGATE_BUDGET", "0.1")
    (folder / "loop.py").write_text(program("kernelbench_loop.py"))
    monkeypatch.setattr(sys, "argv", ["loop.py", "problems", "solutions"])
    runpy.run_path(str(folder / "loop.py"))
    *lines, last = capsys.readouterr().out.splitlines()
    verdicts = {name: line.split()[0] for name, _, line in (one.partition(": ") for one in lines if ": " in one)}
    assert len(verdicts) == 10
    assert {name for name, verdict in verdicts.items() if verdict in ("WRONG", "ERROR")} == {
        *("2_sum", "4_softmax", "5_tanh", "6_scale", "8_mean", "9_gelu", "10_square")
    }
    assert last.endswith("solutions are right and faster than PyTorch")

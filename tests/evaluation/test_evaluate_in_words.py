"""What `kgate evaluate` prints for people: sentences in the terminal's columns, others' words as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluated import CANDIDATES
from evaluated import TESTS

from pytest_kgate import cli
from pytest_kgate.evaluation.verb import feedback

BROKEN = """#include "sdpa.h"
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) { return args->nothing + args->at_all + 1; }
"""

COMPILERS = """mine does not compile: /far/mine.cu(2): error: no such thing

$ nvcc mine.cu
In file included from mine.cu
/far/mine.cu(2): error: no such thing
    int a  =  b;
              ^
/far/mine.cu(3): error: nor this
 Correct the source."""


@pytest.fixture
def say(tmp_path, monkeypatch, warm, capfd):
    """What the verb prints in so many columns."""
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "made.py").write_text(CANDIDATES)
    (tmp_path / "broken.cpp").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KGATE_DEVICE", "host")
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))
    monkeypatch.setenv("KGATE_FOREIGN_LOAD", "warn")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(columns, candidate, test="test_it.py::test_it", *more):
        monkeypatch.setenv("COLUMNS", str(columns))
        cli.main(["evaluate", candidate, "--test", test, *more])
        return capfd.readouterr().out

    return run


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    ("verdict", "candidate", "test"),
    [
        ("PASS", "made.py:good", "test_it"),
        ("FAIL", "made.py:slow", "test_fast"),
        ("WRONG", "made.py:wrong", "test_it"),
        ("MISUSE", "made.py:good", "test_without"),
        ("MISUSE", "absent.py:good", "test_it"),
    ],
)
def test_no_line_is_wider_than_the_terminal(say, columns, verdict, candidate, test):
    printed = say(columns, candidate, f"test_it.py::{test}")
    assert printed.startswith(f"{verdict}, score ")
    assert [line for line in printed.splitlines() if len(line) > columns] == []


def test_sentences_about_an_exception_are_laid_out_and_its_traceback_is_not(say):
    before, marker, trace = say(80, "made.py:raises").partition("Traceback, without the plugin's own frames:\n")
    assert marker
    assert max(map(len, before.splitlines())) <= 80
    assert trace.endswith("ValueError: no such thing\n")


def test_words_of_a_compiler_stay_as_they_are_and_are_not_said_twice(say):
    printed = say(80, "broken.cpp")
    assert printed.startswith("ERROR, score 0\nbroken does not compile:\n/")
    assert "return args->nothing + args->at_all + 1; }\n" in printed
    assert printed.count("no member named") == 2  # once for each error
    assert printed.endswith("\nCorrect the source.\n")


def test_compilers_words_begin_at_its_first_error_and_end_with_what_to_do():
    assert feedback.of_record({"verdict": "ERROR", "reason": COMPILERS}, "").splitlines() == [
        "mine does not compile:",
        "/far/mine.cu(2): error: no such thing",
        "    int a  =  b;",
        "              ^",
        "/far/mine.cu(3): error: nor this",
        "Correct the source.",
    ]


def test_answer_goes_to_a_file_in_a_programs_columns_and_is_told_in_words(say):
    printed = say(80, "made.py:wrong", "test_it.py::test_it", "--json", "answer.json")
    assert printed.startswith("WRONG, score 0\nWRONG: wrong against relu")
    answer = json.loads(Path("answer.json").read_text())
    assert answer["verdict"] == "WRONG"
    assert answer["feedback"].split() == printed.partition("\n")[2].split()
    assert max(map(len, answer["feedback"].splitlines())) > 80

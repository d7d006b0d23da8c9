"""What a prompt tells by its mode, what it never tells, and how it is kept to a length."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sample_records import speed_record

from pytest_kgate import cli
from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.search.journal.journal import Head
from pytest_kgate.search.journal.journal import Journal
from pytest_kgate.search.journal.scope import Scope
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.prompts.replies.reply import read_reply
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import configuration_of
from pytest_kgate.search.prompts.replies.stored import folder_of
from pytest_kgate.search.space.configuration import Configuration

TEST = "tests/test_attention.py::test_wmma"
MEASURED = Path(__file__).parents[3] / "benchmarks" / "h100" / "profile-2026-11-27.json"


def prompt(capsys, *arguments):
    assert cli.main(["prompt", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def journal(path, *trials, confirmed=None, facts=None):
    """The journal of a search with these trials."""
    written = Journal.open(path, Head(f"{TEST}", "local", 123454321, {"facts": facts or {}}), Scope())
    for trial in trials:
        key = written.key([trial.configuration], 12)
        written.started(key, [trial.configuration])
        written.outcome(key, [trial])
    if confirmed is not None:
        written.pay(confirmed.configuration)
        written.confirmed(confirmed)
    written.close()
    return path


def raced(log_ratio, configuration, **more):
    return Trial(configuration, "raced", objective=Estimate(log_ratio, 0.01, 11, 12), **more)


@pytest.fixture
def sources(tmp_path):
    """A search over three sources, one of them wrong, and one over knobs."""
    path = tmp_path / "search.jsonl"
    replies = Replies(folder_of(path))
    texts = ("int a;\nint b;\n", "int a;\nint c;\n", "int d;\n")
    made = [
        replies.add(read_reply(f"Idea {place}.\n```\n{text}```", ".cu", None), text) for place, text in enumerate(texts)
    ]
    first, second, third = made
    trials = (
        raced(-0.1, configuration_of(first), source=first.id, resources={"registers": 64}),
        raced(-0.7, configuration_of(second), source=second.id, parents=(first.id,)),
        Trial(configuration_of(third), "wrong", "max |candidate - exact| is 0.5, allowed is 0.002", source=third.id),
    )
    return journal(path, *trials, facts={"smem_bytes": 232448, "registers": 65536}), made


def test_each_mode_tells_more_than_the_one_before(sources, capsys):
    path, (first, second, third) = sources
    free, insight, full = (prompt(capsys, path, "--mode", mode) for mode in ("free", "insight", "full"))
    assert "232448 bytes of shared memory of a block" in free
    assert f"The best so far: {second.id}" in free
    assert "0.497 [0.487, 0.507], an estimate of 12 rounds" in free
    assert "int c;" not in free
    assert "Idea" not in free
    assert f"- {third.id} (a source of its own): wrong. max |candidate - exact| is 0.5, allowed is 0.002" in insight
    assert "Its author said: Idea 2." in insight
    assert f"The parent to change: {second.id}" in insight
    assert "```cuda\nint a;\nint c;\n```" in insight
    assert "64 registers" in insight
    assert "elites" not in insight
    assert f"From {second.id} to {first.id}:\n```diff\n" in full
    assert "\n-int c;\n+int b;\n" in full
    crossed = prompt(capsys, path, "--parents", "2")
    assert f"Two parents to cross: {second.id} and {first.id}" in crossed
    assert "int b;" in crossed


def test_a_confirmed_champion_is_the_best_whatever_estimates_say(tmp_path, capsys):
    slow, fast = (Configuration.of({"STAGES": stages}) for stages in (2, 3))
    passed = Confirmation(slow, True, 0.0125, 5, {"1x2": "PASS"}, {"1x2": (0.8, 0.79, 0.81)})
    path = journal(tmp_path / "search.jsonl", raced(-0.1, slow), raced(-0.5, fast), confirmed=passed)
    text = prompt(capsys, path, "--mode", "full")
    assert "0.80 [0.79, 0.81], confirmed over 5 processes" in text.replace("0.800 [0.790, 0.810]", "0.80 [0.79, 0.81]")
    assert "STAGES: 2 -> 3" in text


@pytest.mark.parametrize(
    ("source", "environment", "language", "flag"),
    [
        ("mine.cpp", {"CPU": "some CPU"}, "cpp", "-mprefer-vector-width=512"),
        ("host", {"CPU": "some CPU", "PyTorch": "2.13.0"}, "cpp", "-mprefer-vector-width=512"),
        ("wmma", {"CPU": "some CPU", "GPU": "some GPU"}, "cuda", "-maxrregcount=N"),
        ("test_mine.py", {"CPU": "some CPU", "GPU": "some GPU"}, "python", "one paragraph"),
    ],
)
def test_a_search_over_knobs_asks_for_a_source_of_its_own_kind(tmp_path, capsys, source, environment, language, flag):
    path = tmp_path / "search.jsonl"
    head = Head(TEST, "grid", 1, {}, {"source": source})
    Journal.open(path, head, Scope(environment=environment)).close()
    assert cli.main(["prompt", str(path)]) == 0
    told = capsys.readouterr()
    assert f"```{language}\n..." in told.out
    assert "\n\n\n" not in told.out
    assert flag in told.out
    assert f"- {environment.get('GPU', 'some CPU')}\n" in told.out
    assert "--records FILE" in told.err
    assert "--source FILE adds a source to change" in told.err


def test_recorded_counters_and_findings_are_told_where_there_is_no_search(tmp_path, capsys):
    source = tmp_path / "mine.cu"
    source.write_text("__global__ void mine() {}\n")
    test = "tests/perf/test_attention.py::test_cuda_kernel_against_the_fastest_sdpa"
    text = prompt(capsys, MEASURED, "--test", test, "--source", source)
    assert "NVIDIA H100 80GB HBM3, compute capability 9.0, 132 multiprocessors" in text
    assert "to beat: sdpa (cudnn), " in text
    assert "+ 0 |exact|" not in text
    assert "Counters of the hardware" in text
    assert "- tensor: " in text
    assert "What bounds it" in text
    assert "__global__ void mine() {}" in text
    assert "of these: -use_fast_math, -maxrregcount=N" in text


def test_secrets_seeds_and_folders_stay_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOME_API_KEY", "planted-key-1")
    monkeypatch.setenv("DB_PASSWORD", "planted password-number-2")
    record = speed_record(f"{TEST}[1x8x512x64]")
    record["seeds"] = {"book": 2, "session": f"{90125901259:032x}", "race": 42424242}
    record["environment"] |= {"hostname": "planted-host", "ci": {"token": "planted-token"}}
    record["warnings"] = ["planted-warning of seed 90125901259"]
    said = "is 0.5 under seed 42424242 in /home/somebody/private/mine.cu with planted-key-1 and password-number-2."
    record |= {"verdict": "ERROR", "reason": f"The error {said} It said:\nplanted-output"}
    file = RecordFile(tmp_path / "records.json")
    file.append(record)
    file.close()
    one = Configuration.of({"STAGES": 2})
    path = journal(tmp_path / "search.jsonl", Trial(one, "error", f"The error {said} pytest said: planted-output"))
    for arguments in (("records.json",), ("search.jsonl", "--records", tmp_path / "records.json")):
        text = prompt(capsys, tmp_path / arguments[0], *arguments[1:], "--mode", "full")
        assert "The error is 0.5 under seed [removed] in mine.cu with [removed] and [removed]." in text
        for planted in ("planted", "90125901259", "42424242", "password-number-2", "somebody", "123454321", "GPU-1234"):
            assert planted not in text
    assert path.exists()


def test_what_does_not_fit_is_left_out_and_counted(tmp_path, capsys):
    many = [
        Trial(Configuration.of({"TILE": tile}), "unbuildable", f"reason number {tile} " + "x" * 300)
        for tile in range(40)
    ]
    path = journal(tmp_path / "search.jsonl", raced(-0.2, Configuration.of({"TILE": 99})), *many)
    whole, cut = prompt(capsys, path), prompt(capsys, path, "--most-characters", "6000")
    assert "reason number 0 " in whole
    assert "Left out" not in whole
    assert len(cut) <= 6000
    assert "reason number 39 " in cut
    assert "reason number 0 " not in cut
    assert "Left out for the length of this text: " in cut
    assert " of 41 earlier candidates." in cut
    assert cli.main(["prompt", str(path), "--most-characters", "500"]) == 2
    assert "without anything that could be left out" in capsys.readouterr().err


def test_templates_of_the_user_take_the_place_of_ours(sources, tmp_path, capsys):
    path, (_, second, _) = sources
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "rules.md").write_text("Be quick, {{ best.id }}.")
    text = prompt(capsys, path, "--templates", tmp_path / "own")
    assert f"Be quick, {second.id}." in text
    assert "How it is judged" not in text
    assert "# Task" in text
    (tmp_path / "own" / "rules.md").write_text("{{ seeds }}")
    assert cli.main(["prompt", str(path), "--templates", str(tmp_path / "own")]) == 2
    assert "'seeds' is undefined" in capsys.readouterr().err
    (tmp_path / "own" / "rules.md").write_text("{{ ''.__class__.__mro__ }}")
    assert cli.main(["prompt", str(path), "--templates", str(tmp_path / "own")]) == 2
    assert "unsafe" in capsys.readouterr().err


def test_records_of_several_tests_ask_for_one(tmp_path, capsys):
    file = RecordFile(tmp_path / "records.json")
    for name in ("test_a", "test_b"):
        file.append(speed_record(f"tests/test_it.py::{name}"))
    file.close()
    assert json.loads((tmp_path / "records.json").read_text())
    assert cli.main(["prompt", str(tmp_path / "records.json")]) == 2
    assert "Name one by --test: tests/test_it.py::test_a, tests/test_it.py::test_b." in capsys.readouterr().err
    assert "test_b" in prompt(capsys, tmp_path / "records.json", "--test", "tests/test_it.py::test_b")


@pytest.mark.parametrize(
    ("name", "source_hash", "device", "language"),
    [
        ("fused", None, "host", "python"),
        ("generated.py:attention", None, "cuda", "python"),
        ("wmma", "9f1c", "cuda", "cuda"),
        ("host", "9f1c", "host", "cpp"),
        ("broken.cu", None, "cuda", "cuda"),  # which does not compile
    ],
)
def test_records_ask_for_a_source_of_their_candidates_kind(tmp_path, capsys, name, source_hash, device, language):
    record = speed_record(ratio=0.9)
    record["candidate"] |= {"name": name, "source_hash": source_hash}
    record["environment"]["device"] = device
    (tmp_path / "records.json").write_text(json.dumps({**json.loads(MEASURED.read_text()), "records": [record]}))
    assert f"```{language}\n..." in prompt(capsys, tmp_path / "records.json")

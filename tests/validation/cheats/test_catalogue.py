"""Cheats of the catalogue, each in a session of its own, as `kgate integrity` runs them.

One for each thing that stops them by default; marked `thorough`, every one.
"""

from __future__ import annotations

import ast
import functools
import signal
import subprocess
import sys
import time

import pytest

from pytest_kgate.validation.cheats import file
from pytest_kgate.validation.cheats.catalogue import CATALOGUE
from pytest_kgate.validation.cheats.catalogue import FOLDER
from pytest_kgate.validation.cheats.catalogue import HONEST
from pytest_kgate.validation.cheats.catalogue import chosen

UNDONE = (
    "a timed launch left",
    "remembers its answers",
    "remembers answers",
    "uses again what it has computed",
    "does not see the",
    "waits for the GPU inside its call",
    "less than",
    "run at the same time",
)
"""How a reason begins or goes on where work was remembered, deferred or done elsewhere: several checks may be first."""

UNDONE_BY = {
    "replay_pointer",
    "replay_id",
    "replay_version",
    "replay_values",
    "replay_transformed",
    "replay_bursts",
    "replay_bursts.cu",
    "finds_values",
    "replay_buffer",
    "replay_native.cpp",
    "replay_native.cu",
    "batches_calls",
    "defers_work",
    "counts_calls",
    "looks_at_caller",
    "side_stream",
    "side_stream.cu",
    "overlaps_calls.cu",
    "forks_early",
    "works_in_thread",
    "skips_in_graph",
}

CHECKS = {
    "disturbs_reference": "threads",
    "patch_clock": "originals",
    "patch_event": "originals",
    "patch_synchronize": "originals",
    "patch_comparison": "originals",
    "patch_judge": "originals",
    "patch_random": "originals",
    "patch_method": "originals",
    "patch_reference": "originals",
    "override_operator": "originals",
    "open_mode": "originals",
    "changes_closure": "originals",
    "changes_bound": "originals",
    "blinds_reference": "clean",
    "ends_clean_process": "clean",
    "traces_judge": "state",
    "other_threads": "state",
    "other_precision": "state",
    "other_autograd": "state",
    "sets_malloc": "state",
    "sets_malloc_early": "state",
    "sets_linux": "state",
    "allocator_limit": "state",
    "allocator_pool": "state",
    "graph_pool": "state",
    "persisting_l2": "state",
    "own_library": "kernels",
    "own_library_thread": "kernels",
    "slow_host": "host",
}
"""The integrity check that must have found something, where the race was decided."""

REASONS = {
    "stale_memory": "NaN or Inf",
    "changes_inputs": "changed its input",
    "lazy_subclass": "a subclass of Tensor",
    "lazy_array": "__dlpack__ may compute",
    "named_library": "__dlpack__ may compute",
    "verdict_report": "yet it was reported as passed",
    "verdict_swallowed": "yet it was reported as passed",
    "verdict_unraised": "yet it was reported as passed",
    "verdict_status": "the exit status of the session was changed to 0",
    "verdict_late": "its exit status was changed to 0 afterwards",
    "verdict_records": "was changed while the tests ran",
    "exits": "tried to end the process",
    "searches_memory": "max |candidate - exact|",
    "writes_beyond.cpp": "wrote behind its output",
    "writes_beyond.cu": "wrote behind its output",
    "reads_beyond.cpp": "NaN or Inf",
    "writes_denormals": "was changed in timed calls of the candidate",
    "sleepy_inputs": "was given another class or sign, other memory or other strides in timed calls of the candidate",
}
"""What the record, or the session, says of those that no race has to judge."""

SLOW = {"stale_row", "changes_lengths"}
"""Those that are left to work as any other, and are not faster."""

WITHOUT_CHECKS = {
    "host": ("PASS", "INCONCLUSIVE", "WEAK"),
    "cuda": ("PASS", "INCONCLUSIVE", "WEAK", "INVALID"),
}
"""WEAK: a comparison that was patched lets zeros pass as well, which is asked of every check. INVALID
on a GPU: a candidate that launches nothing where it is timed has a net latency of 0, which no gate takes."""


ON_HOST = [cheat for cheat in CATALOGUE if "host" in cheat.devices]

ALSO = {"writes_denormals", "defers_work", "override_operator", "changes_closure", "sets_linux", "reads_beyond.cpp"}
"""Those that are found by other code than the first that the same check stops: inputs changed in timed calls, work done
later, operators, closures, settings of the system, reads instead of writes."""

ELSEWHERE = {"blinds_reference", "named_library"}
"""Those whose check is shown such candidates in another file, in half the time: tests/bench/processes/test_clean.py,
tests/device/test_answer.py."""

FIRST = {cheat.stopped_by: cheat.name for cheat in reversed(ON_HOST)}
PART = [cheat for cheat in ON_HOST if cheat.name in {*FIRST.values(), *ALSO} - ELSEWHERE]
"""The first of each kind and those: less than half of the seconds that all of them take."""


def run_catalogue(folder, device, program=sys.executable, only=None):
    """All of them in one process that forks for each; the exit status says whether any was a surprise."""
    path = folder / "integrity.json"
    command = command_of(path, device, program, only)
    run = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    assert path.exists(), run.stderr
    content = file.load(path)
    return run, {one["cheat"]: one for one in content["attempts"]}, content


def command_of(path, device, program=sys.executable, only=None):
    command = [program, "-m", "pytest_kgate.cli", "integrity", "--device", device, "--json", str(path)]
    return command + ([] if only is None else ["--only", ",".join(one.name for one in only)])


@pytest.fixture(scope="module")
def on_host(warm_program, tmp_path_factory):
    return run_catalogue(tmp_path_factory.mktemp("host"), "host", warm_program, [*PART, HONEST])


@pytest.fixture(scope="module")
def all_on_host(tmp_path_factory):
    return run_catalogue(tmp_path_factory.mktemp("all"), "host")


@pytest.fixture(scope="module")
def on_cuda(request, tmp_path_factory):
    """The attempt of a candidate, by its name, as soon as there is one; of those whose tests run, which -k may choose.

    All of them take over eight minutes: a test waits for its own alone, so that a run that is stopped has told of some.
    """
    running = [item for item in request.session.items if "on_cuda" in item.fixturenames]
    names = {item.callspec.params["cheat"].name if hasattr(item, "callspec") else HONEST.name for item in running}
    path = tmp_path_factory.mktemp("cuda") / "integrity.json"
    command = command_of(path, "cuda", only=[one for one in (*CATALOGUE, HONEST) if one.name in names])
    with path.with_suffix(".txt").open("w+") as told, subprocess.Popen(command, stdout=told, stderr=told) as run:
        try:
            yield functools.partial(attempt_of, path, run)
        finally:
            run.kill()


def attempt_of(path, run, name):
    ended = False
    while True:
        attempts = {one["cheat"]: one for one in file.load(path)["attempts"]} if path.exists() else {}
        if name in attempts:
            return attempts[name]
        assert not ended, path.with_suffix(".txt").read_text()
        ended = run.poll() is not None  # what it has written last is read once more
        time.sleep(0.2)


def demand_caught(cheat, attempt):
    assert attempt["caught"] is cheat.caught, attempt["reason"]
    assert attempt["verdict"] != "PASS"
    assert REASONS.get(cheat.name, "") in attempt["reason"]
    if cheat.name in UNDONE_BY or cheat.name in CHECKS:
        # They answer right where they are checked: a wrong answer would be caught without the check that they are for.
        assert attempt["verdict"] not in ("WRONG", "ERROR"), attempt["reason"]
    if attempt["verdict"] == "INVALID" and cheat.name in CHECKS:
        assert CHECKS[cheat.name] in attempt["checks"], attempt["reason"]
    if cheat.name in SLOW:
        assert attempt["verdict"] in ("FAIL", "INCONCLUSIVE"), attempt["reason"]
    if cheat.name not in REASONS:  # which no option turns off
        unchecked = (None,) if attempt["verdict"] != "INVALID" else WITHOUT_CHECKS[attempt["device"]]
        assert attempt["unchecked"] in unchecked
    if attempt["verdict"] == "INVALID" and cheat.name in UNDONE_BY:
        assert any(words in attempt["reason"] for words in UNDONE), attempt["reason"]


def demand_no_accusation(attempt):
    """Whether it is fast enough is for the machine to say; nothing may be held against it."""
    assert attempt["verdict"] in ("PASS", "INCONCLUSIVE"), attempt["reason"]
    assert attempt["checks"] == []


@pytest.mark.parametrize("cheat", PART, ids=lambda one: one.name)
def test_cheat_does_not_pass_on_the_host(on_host, cheat):
    demand_caught(cheat, on_host[1][cheat.name])


def test_honest_candidate_is_not_accused_on_the_host(on_host):
    demand_no_accusation(on_host[1][HONEST.name])


def test_command_says_what_got_through(on_host):
    run, _, content = on_host
    assert (run.returncode == 0) == (file.surprises(content, "host") == [])
    assert "| what stops it |" in run.stdout


@pytest.mark.thorough
@pytest.mark.parametrize("cheat", ON_HOST, ids=lambda one: one.name)
def test_no_cheat_passes_on_the_host(all_on_host, cheat):
    demand_caught(cheat, all_on_host[1][cheat.name])


@pytest.mark.gpu
@pytest.mark.parametrize("cheat", [one for one in CATALOGUE if "cuda" in one.devices], ids=lambda one: one.name)
def test_cheat_does_not_pass_on_a_gpu(on_cuda, cheat):
    demand_caught(cheat, on_cuda(cheat.name))


@pytest.mark.gpu
def test_honest_candidate_is_not_accused_on_a_gpu(on_cuda):
    demand_no_accusation(on_cuda(HONEST.name))


def test_each_cheat_has_a_file_that_says_what_it_does_and_each_file_is_listed():
    listed = {cheat.file for cheat in (*CATALOGUE, HONEST)}
    for name in listed:
        text = (FOLDER / name).read_text()
        assert ast.get_docstring(ast.parse(text)) if name.endswith(".py") else text.startswith("// ")
    assert {path.name for path in FOLDER.glob("*.py")} - {"__init__.py"} == {f for f in listed if f.endswith(".py")}


def test_every_check_that_finds_something_on_the_host_has_a_cheat_that_is_always_run():
    run = {cheat.name for cheat in PART} | ELSEWHERE
    assert {CHECKS[one.name] for one in ON_HOST if one.name in CHECKS} == {CHECKS[name] for name in run & CHECKS.keys()}
    assert run & UNDONE_BY
    assert run & SLOW


def test_each_cheat_is_caught_for_its_own_reason():
    names = {cheat.name for cheat in CATALOGUE}
    told = [
        UNDONE_BY,
        set(CHECKS),
        set(REASONS),
        SLOW,
        {"exits_natively", "predicts_seed"},
    ]
    assert set().union(*told) == names
    assert sum(map(len, told)) == len(names)


def test_what_was_found_before_ctrl_c_is_kept(tmp_path):
    path = tmp_path / "integrity.json"
    command = [sys.executable, "-m", "pytest_kgate.cli", "integrity", "--device", "host", "--json", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        try:
            lines = [run.stderr.readline(), run.stderr.readline()]
            run.send_signal(signal.SIGINT)
            _, rest = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    # On a busy machine more of them are through by the time the signal comes.
    told = [line.split()[0] for line in (*lines, *rest.splitlines()) if " caught " in line or " passed " in line]
    kept = [one["cheat"] for one in file.load(path)["attempts"]]
    assert kept[: len(told)] == told == [cheat.name for cheat in chosen("host")][: len(told)]
    assert len(kept) <= len(told) + 1  # written, then told


def test_names_choose_and_devices_filter():
    assert [cheat.name for cheat in chosen("host", "exits,side_stream")] == ["exits"]
    assert HONEST in chosen("cuda")

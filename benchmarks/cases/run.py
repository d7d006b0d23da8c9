"""Run folders of cases, each file in a process of its own, and compare what becomes of each test with the file's head.

    python benchmarks/cases/run.py FOLDER [FOLDER ...] [--part 1/4] [--out table.txt]

A case is a file of tests whose head says what must happen to them; `wanted.py` has these heads as data, by the names
of folder, file and test. The verdict is that of the test's records, and where it has none, what it said. A line a test:

    ok | case | wanted | seen | seconds | the reason, in short

The exit status is 1 where a case is not as its head says. --part K/N runs every N-th file, from the K-th: N lanes, one
GPU each, run all of them. Folders named `host`, `honest` and `attacks` run on the host, others on a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from wanted import ATTACK
from wanted import PASSED
from wanted import SAID
from wanted import arguments
from wanted import as_right
from wanted import wanted

_ROOT = Path(__file__).resolve().parents[2]
_ON_HOST = ("host", "honest", "attacks")
_REASON = 110
"""Characters of a reason that are shown."""


@dataclass(frozen=True)
class Seen:
    """What became of one test."""

    case: str
    """folder/file::test"""
    outcome: str
    """passed, failed, error or skipped, as pytest has it."""
    text: str
    """The message of its failure, and what it printed."""
    seconds: float
    verdicts: tuple[str, ...] = ()
    """Of its records, the last attempt of each call."""
    reason: str = ""
    ratio: str = ""
    reported: bool = False
    """Whether the session ended with an exit status that says that something failed."""


def main() -> int:
    """Run what was asked for; 1 where a case is not as its head says."""
    options = _options()
    files = [file for folder in options.folders for file in _files(folder)]
    files = [file for file in files if fnmatchcase(_name(file), options.match)]
    part, parts = (int(one) for one in options.part.split("/"))
    files = files[part - 1 :: parts]
    runs = [(file, test) for file in files for test in (_tests_of(file, options.tests) if options.alone else [""])]
    wrong, machine = 0, ""
    end = time.monotonic() + options.seconds
    for at, (file, test) in enumerate(runs):
        left = end - time.monotonic()
        if left < 5:
            _say(options, f"not run, for lack of time: {' '.join(_name(one) + name for one, name in runs[at:])}")
            wrong += 1
            break
        found, environment = _run(file, test, options, min(options.limit, left))
        if environment and not machine:
            machine = environment
            _say(options, f"{machine}, {time.strftime('%Y-%m-%d')}{_revision()}")
        for one in found:
            ok, line = _line(one)
            wrong += not ok
            _say(options, line)
    _say(options, f"{wrong} not as the head says" if wrong else "all as the heads say")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="of cases, or one file of a folder")
    parser.add_argument("--device", help="host, cuda, cuda:1; by default by the folder's name")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="every N-th file, from the K-th on")
    parser.add_argument("--match", default="*", metavar="PATTERN", help="only files whose folder/name fits it")
    parser.add_argument("--tests", default="", metavar="EXPRESSION", help="only these, as -k")
    parser.add_argument("--alone", action="store_true", help="each test of a file in a process of its own")
    parser.add_argument("--limit", type=float, default=300.0, metavar="SECONDS", help="of a file; it is ended then")
    parser.add_argument("--seconds", type=float, default=1e9, help="of all; what is left then is said")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the lines go as well; they are appended")
    return parser.parse_args()


def _files(folder: Path) -> Iterator[Path]:
    folder = folder.resolve()
    yield from [folder] if folder.is_file() else sorted(folder.glob("*.py"))


def _name(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def _tests_of(file: Path, expression: str) -> list[str]:
    """The tests of a file, each with two colons ahead of it."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-c", os.devnull, "-p", "no:cacheprovider"]
    command += ["-k", expression]
    told = subprocess.run([*command, str(file)], capture_output=True, text=True, check=True, cwd=file.parent).stdout
    return [f"::{line.partition('::')[2]}" for line in told.splitlines() if "::" in line]


def _run(file: Path, test: str, options: argparse.Namespace, limit: float) -> tuple[list[Seen], str]:
    """The test of a file, all where none is named, and the machine that its records name."""
    device = options.device or ("host" if file.parent.name in _ON_HOST else "cuda")
    with tempfile.TemporaryDirectory(prefix="kgate-case-") as made:
        scratch = Path(made)
        config = file.parent / "pytest.ini"
        if not config.exists():  # else this project's own settings and conftest would be taken
            config = scratch / "pytest.ini"
            config.write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-q", f"{file}{test}", "-c", str(config)]
        command += [
            f"--rootdir={file.parent}",
            f"--confcutdir={file.parent}",
            "-p",
            "no:cacheprovider",
            "--kgate-device",
            device,
        ]
        command += [f"--kgate-json={scratch / 'records.json'}", f"--junitxml={scratch / 'tests.xml'}"]
        command += ["-o", "junit_logging=all", "-k", options.tests, *arguments(_name(file))]
        start = time.monotonic()
        status, tail = _status(command, scratch, limit)
        took = time.monotonic() - start
        tests = _tests(file, scratch / "tests.xml")
        records = _records(scratch / "records.json")
    if not tests:
        why = f"no end within {limit:.0f} s" if status is None else f"exit status {status}: {tail}"
        # The records of the tests that had ended are left also where the process was ended.
        tests = [Seen(f"{_name(file)}::{name}", "lost", why, took) for name in records]
        tests.append(Seen(f"{_name(file)}::(the rest)", "lost", why, took))
    told = bool(status)
    found = [_with_records(one, records.get(one.case.partition("::")[2], [])) for one in tests]
    found = [replace(one, reported=told) for one in found]
    return found, next((_machine(one["environment"]) for some in records.values() for one in some), "")


def _status(command: list[str], scratch: Path, limit: float) -> tuple[int | None, str]:
    """The exit status, None where the process had to be ended; and its last words."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    log = scratch / "log.txt"
    with log.open("w") as out:
        child = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=scratch, start_new_session=True
        )
        try:
            status = child.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return status, " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])


def _tests(file: Path, report: Path) -> list[Seen]:
    """What the JUnit report has; nothing where the process ended before it was written."""
    try:
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError):
        return []
    found = []
    for one in root.iter("testcase"):
        outcome, text = "passed", ""
        for part in one:
            if part.tag in ("failure", "error", "skipped"):
                outcome = {"failure": "failed"}.get(part.tag, part.tag)
                text = f"{part.get('message', '')}\n{text}\n{part.text or ''}"
            elif part.tag == "system-out":
                text += part.text or ""
        found.append(Seen(f"{_name(file)}::{one.get('name')}", outcome, text, float(one.get("time", 0))))
    return found


def _records(file: Path) -> dict[str, list[dict[str, Any]]]:
    """By test, the last attempt of each call."""
    try:
        records = json.loads(file.read_text())["records"]
    except (OSError, ValueError):
        return {}
    last = {(one["test"].partition("::")[2], one["call"]): one for one in records}
    found: dict[str, list[dict[str, Any]]] = {}
    for (test, _), one in last.items():
        found.setdefault(test, []).append(one)
    return found


def _with_records(one: Seen, records: list[dict[str, Any]]) -> Seen:
    if not records:
        return one
    gates = [gate for record in records for gate in record.get("gates") or [] if gate.get("ratio")]
    ratio = f"{gates[0]['ratio']['estimate']:.3g}" if gates else ""
    reasons = " / ".join(str(record["reason"]) for record in records if record["reason"])
    verdicts = tuple(record["verdict"] for record in records)
    text = "\n".join([one.text, *(warning for record in records for warning in record.get("warnings") or [])])
    return replace(one, verdicts=verdicts, reason=reasons, ratio=ratio, text=text)


def _line(one: Seen) -> tuple[bool, str]:
    """Whether a test is as its head says, and its line of the table."""
    verdicts, words = wanted(one.case)
    seen = _verdicts(one)
    said = f"{seen[0]}\n{one.reason}\n{one.text}"
    if verdicts == ATTACK:
        ok = "PASS" not in seen and one.reported
    else:
        ok = all(verdict in verdicts.split() for verdict in seen)
    told = re.search(words, said) is not None
    ok = ok and told
    note = "" if ok or not told else "".join({as_right(one.case, verdict) for verdict in seen})
    shown = re.search(words, said) if words and not words.startswith("^") else None
    lines = [line for line in one.text.splitlines() if line.strip() and not line.startswith("---")]
    reason = one.reason or (lines or [""])[0]
    if shown and shown.group() not in reason:
        reason = f"{shown.group()}: {reason}" if reason else shown.group()
    verdict = f"{'+'.join(seen)} {one.ratio}".strip()
    reason = " ".join(reason.split())[:_REASON]
    demand = verdicts if verdicts == ATTACK else verdicts.replace(" ", " or ")
    mark = "ok  " if ok else f"ok, for {note}:" if note else "NOT "
    line = f"{mark} {one.case}: wanted {demand}, seen {verdict}, {one.seconds:.0f} s"
    return ok or bool(note), f"{line} ({reason})" if reason else line


def _verdicts(one: Seen) -> tuple[str, ...]:
    """Of the records, else of the failure's first word, else what pytest said."""
    if one.verdicts:
        return one.verdicts
    if one.outcome in ("lost", "skipped"):
        return (one.outcome,)
    word = re.match(r"(?:\w+\.)*(?:GateFailure: |Failed: )?([A-Z]{4,}(?: [A-Z]+)?)\b", one.text.strip())
    if word:
        return (word.group(1),)
    expected = wanted(one.case)[0].split()
    return (PASSED,) if one.outcome == "passed" and SAID not in expected else (SAID,)


def _machine(environment: dict[str, Any]) -> str:
    cpu, gpu = environment.get("cpu") or {}, environment.get("gpu") or {}
    name = gpu.get("name") or f"{cpu.get('model')}, {cpu.get('usable_cores')} cores"
    driver = f", driver {gpu['driver']}" if gpu.get("driver") else ""
    return f"{name}{driver}, PyTorch {environment['packages']['torch']}"


def _revision() -> str:
    found = subprocess.run(
        ["git", "-C", str(_ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return f", at {found.stdout.strip()}" if found.returncode == 0 else ""


def _say(options: argparse.Namespace, line: str) -> None:
    print(line, flush=True)
    if options.out:
        with options.out.open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())

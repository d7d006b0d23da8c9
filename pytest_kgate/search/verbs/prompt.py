"""`kgate prompt`: what is known of a search, or of recorded sessions, as a prompt for who writes the next kernel."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.journal.history import History
    from pytest_kgate.search.prompts.facts.candidate import Candidate
    from pytest_kgate.search.space.configuration import Value

_JOURNAL = ".jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    from pytest_kgate.search.prompts.writing import MODES
    from pytest_kgate.search.prompts.writing import MOST_CHARACTERS

    parser.description = (
        "Print a prompt: the task, the device, the rules of the gate, and the best kernel so far; by its mode also "
        "what was tried and why it failed, counters, and sources to change. It holds no seeds, no inputs, no secrets "
        "of the environment and no folders of this machine."
    )
    parser.add_argument("file", metavar="FILE", help="a search's journal (search.jsonl), or records (--kgate-json)")
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="insight",
        help="free: nothing of earlier sources; insight: also counters, findings, resources and what became of earlier "
        "candidates; full: also the elites and what they differ in; default: %(default)s",
    )
    parser.add_argument("--test", metavar="NODEID", help="of records with several tests, the one to write for")
    parser.add_argument("--records", metavar="FILE", help="records beside a journal, for counters and the task")
    parser.add_argument("--source", metavar="FILE", help="the source of the best candidate, where the search has none")
    parser.add_argument(
        "--parents", type=int, choices=(1, 2), default=1, help="sources to offer: one to change, or two to cross"
    )
    parser.add_argument("--templates", metavar="DIR", help="files that take the place of ours of the same names")
    parser.add_argument(
        "--most-characters",
        metavar="N",
        type=int,
        default=MOST_CHARACTERS,
        help="longer prompts leave out what matters least, and count it; default: %(default)s",
    )


def run(options: argparse.Namespace) -> int:
    """Print the prompt; returns 0."""
    from pytest_kgate.report.record.document import load
    from pytest_kgate.search.journal.file import read
    from pytest_kgate.search.journal.history import History
    from pytest_kgate.search.prompts.facts.gather import told
    from pytest_kgate.search.prompts.facts.task import task_of
    from pytest_kgate.search.prompts.writing import write_prompt

    records = load(Path(options.records)) if options.records else []
    candidates: list[Candidate]
    facts: Mapping[str, Value]
    where: Mapping[str, str]
    if options.file.endswith(_JOURNAL):
        history = History.of(read(Path(options.file)))
        test, where = str(history.head["test"]), history.scope.environment
        candidates, suffix = _of_search(history, Path(options.file), records)
        facts = history.head.get("space", {}).get("facts", {})
        records = [one for one in records if one["test"].startswith(test)]
    else:
        test, candidates, records = _of_records([*load(Path(options.file)), *records], options.test)
        suffix, facts, where = "", {}, {}
    source = None
    if options.source is not None:
        try:
            source = Path(options.source).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UsageError(f"{options.source} can't be read: {error.strerror}.", "Name a source.") from error
        suffix = suffix or Path(options.source).suffix
    known = told(
        task_of(test, records, facts, where),
        candidates,
        suffix or _suffix(records, where),
        records,
        options.parents,
        source,
    )
    templates = Path(options.templates) if options.templates else None
    print(write_prompt(known, options.mode, templates, options.most_characters), end="")
    lacking = [] if records else ["--records FILE (of --kgate-json) adds the problem and what is demanded"]
    lacking += [] if known.parents or options.mode == "free" else ["--source FILE adds a source to change"]
    if lacking:
        print(f"kgate: {options.file} does not hold all that a prompt can tell: {'; '.join(lacking)}.", file=sys.stderr)
    return 0


def _of_search(history: History, path: Path, records: list[Record]) -> tuple[list[Candidate], str]:
    """Its candidates, and the suffix of their sources; empty where they have no files of their own."""
    from pytest_kgate.search.prompts.facts.gather import candidates_of
    from pytest_kgate.search.prompts.facts.gather import with_records
    from pytest_kgate.search.prompts.replies.stored import Replies
    from pytest_kgate.search.prompts.replies.stored import folder_of
    from pytest_kgate.search.prompts.writing import LANGUAGES

    replies = Replies(folder_of(path))
    champion = history.champion
    confirmed = {champion.configuration: champion} if champion is not None else {}
    candidates = with_records(candidates_of(history.standings(), replies, confirmed), records)
    searched = Path(str(history.head.get("options", {}).get("source", ""))).suffix
    return candidates, next((one.suffix for one in replies), searched if searched in LANGUAGES else "")


def _of_records(records: list[Record], test: str | None) -> tuple[str, list[Candidate], list[Record]]:
    """The test, its candidates and its records."""
    from pytest_kgate.search.prompts.facts.candidate import of_record

    names = list(dict.fromkeys(record["test"].partition("[")[0] for record in records))
    chosen = [test] if test is not None else names
    found = [record for record in records if any(record["test"].startswith(one) for one in chosen)]
    if len(chosen) != 1 or not found:
        raise UsageError(
            f"The records hold {len(names)} tests{'' if test is None else f', none of them {test}'}.",
            f"Name one by --test: {', '.join(names[:6])}." if names else "Name a file with records.",
        )
    return chosen[0], [of_record(one) for one in found], found


def _suffix(records: list[Record], where: Mapping[str, str]) -> str:
    """By the candidates, where they are functions of Python; else by the device, where nothing tells more."""
    names = [record["candidate"]["name"].partition(":")[0] for record in records]
    built = any(record["candidate"]["source_hash"] for record in records)
    if names and not built and not any(name.endswith((".cu", ".cpp")) for name in names):
        return ".py"
    on_host = any(record["environment"].get("device") == "host" for record in records)
    on_host = on_host or ("CPU" in where and "GPU" not in where)
    return ".cpp" if on_host else ".cu"

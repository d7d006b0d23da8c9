"""A session in which one test makes a mistake between two good ones, and what its user has afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record_schema import demand_valid
from sample_suite import RELU

from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.record import Record

BEFORE = (
    RELU
    + """SMALL = Shape(1, 2, 32, 16)

def good(x):
    return torch.relu(x)

def test_before(kbench):
    kbench(good, RELU, name="before", budget=0.2)
"""
)

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


def seen(path: Path, printed: str, status: int, outcomes: Callable[[], dict[str, int]] = dict) -> Seen:
    """Read what is there. No frame of the plugin's own shows, but in what the interpreter says when it crashes."""
    crash = re.compile(r"^Fatal Python error: .*^Extension modules: [^\n]*", re.DOTALL | re.MULTILINE)
    assert not re.findall(r"pytest_kgate[/\\][\w/\\]+\.py", crash.sub("", printed))
    assert "During handling of the above exception" not in printed
    assert "INTERNALERROR" not in printed
    records: list[Record] = []
    if path.is_file():
        demand_valid(json.loads(path.read_text()))
        records = load(path)
    try:
        counts = outcomes()
    except ValueError:  # the session never began
        counts = {}
    return Seen(" ".join(printed.split()), printed, counts, records, status)


def write_kernel(folder: Any, body: str, name: str = "mine.cpp", before: str = "") -> None:
    (folder.path / name).write_text(before + KERNEL.format(body=body))

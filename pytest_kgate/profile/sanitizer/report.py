"""What compute-sanitizer's text report says: the findings, how many there are, or why there is no report.

A report is lines that begin with `=========`. A finding is a line with one blank after that, and the indented lines
below it: where (`at kernel(...)+0x70 in file.cu:26`), `by thread (x,y,z) in block (x,y,z)`, the address, and the frames
of the functions that the compiler inlined. Racecheck's findings name two accesses or more, and neither thread nor
address. Releases before 2023 write `at 0x70 in file.cu:26:kernel(...)`; both forms are read.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import cast

from pytest_kgate.profile.sanitizer.findings import Finding
from pytest_kgate.profile.sanitizer.findings import Frame
from pytest_kgate.profile.sanitizer.findings import ToolReport

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.sanitizer import Severity

_LINE = re.compile(r"^={8,9}(?P<indent>\s*)(?P<text>.*?)\s*$")
_SUMMARY = re.compile(r"^(?:ERROR|\w+CHECK) SUMMARY: (?P<count>\d+) (?:errors?|hazards? displayed)(?P<rest>.*)$")
_RACES = re.compile(r"\((?P<errors>\d+) errors?, (?P<warnings>\d+) warnings?\)")
_HAZARD = re.compile(r"^(?P<severity>Error|Warning|Info): (?P<text>(?:Race reported|Potential \w+ hazard).*)$")
_ACCESS = re.compile(r"^(?P<text>Race reported between \w+ access) at (?P<where>.+)$")
_OTHER = re.compile(r"^and (?P<kind>\w+) access at (?P<where>.+?)(?: \[(?P<hazards>\d+) hazards?\])?$")
_HAZARDS = re.compile(r"^\[\d+ hazards?\]$")
_THREAD = re.compile(r"thread \((\d+), ?(\d+), ?(\d+)\) in block \((\d+), ?(\d+), ?(\d+)\)")
_ADDRESS = re.compile(r"^(?:Address|Access (?:at|to)|Uninitialized access at) (?P<address>0x[0-9a-f]+)(?P<what>.*)$")
_OLD_FRAME = re.compile(r"^0x[0-9a-f]+ in (?:(?P<file>.+?):(?P<line>\d+):)?(?P<function>.+)$")
_FRAME = re.compile(r"^(?P<function>.+?)(?:\+0x[0-9a-f]+)?(?: in (?P<file>.+?):(?P<line>\d+))?$")
_NO_FINDING = re.compile(
    r"^(?:COMPUTE-SANITIZER|CUDA-MEMCHECK|Target application returned|Program hit |Process ID|Saved host backtrace)"
)
_TOOL_TROUBLE = re.compile(
    r"^(?:Error: |Warning: |Internal |Device not supported|Unable to |Target application terminated|No attachable )"
)


def parse_report(text: str) -> ToolReport:
    """Parse a report; of a text that is no report, one with `complete` False."""
    blocks, summaries, troubles = _split(text)
    findings = tuple(_finding(block) for block in blocks)
    errors = warnings = 0
    for match in summaries:
        races = _RACES.search(match["rest"])
        errors = max(errors, int(races["errors"] if races else match["count"]))
        warnings = max(warnings, int(races["warnings"]) if races else 0)
    printed = sum(finding.severity == "error" for finding in findings)
    report = ToolReport(findings, max(errors, printed), warnings, bool(summaries), tuple(troubles))
    if printed or not errors or report.internal is not None:
        return report
    said = tuple(trouble for trouble in troubles if trouble.startswith("Error:"))
    unread = Finding(f"{errors} found, in a form that can't be read", details=said)
    return replace(report, findings=(unread, *findings))


def _split(text: str) -> tuple[list[list[str]], list[re.Match[str]], list[str]]:
    """The lines of each finding, the summary lines, and what the tool says about itself."""
    blocks: list[list[str]] = []
    summaries: list[re.Match[str]] = []
    troubles: list[str] = []
    inside = False
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or not match["text"]:
            continue
        content = match["text"]
        if len(match["indent"]) > 1:
            if inside:
                blocks[-1].append(content)
            continue
        inside = False
        if summary := _SUMMARY.match(content):
            if "not printed" not in content:
                summaries.append(summary)
        elif _HAZARD.match(content) or not (_NO_FINDING.match(content) or _TOOL_TROUBLE.match(content)):
            blocks.append([content])
            inside = True
        elif _TOOL_TROUBLE.match(content):
            troubles.append(content)
    return blocks, summaries, troubles


def _finding(block: list[str]) -> Finding:
    head, *lines = _joined(block)
    severity: Severity = "error"
    message = head.rstrip(".")
    frames: list[Frame] = []
    others: list[tuple[str, Frame]] = []
    details: list[str] = []
    thread = where = address = None
    if hazard := _HAZARD.match(head):
        severity, message = cast("Severity", hazard["severity"].lower()), hazard["text"].rstrip(" :")
    if access := _ACCESS.match(message):
        message = access["text"].replace("Race reported between", "Race:")
        frames.append(_frame(access["where"]))
    for line in lines:
        if other := _OTHER.match(line):
            others.append((other["kind"], _frame(other["where"])))
        elif line.startswith(("at ", "Device Frame:")):
            frames.append(_frame(line.removeprefix("at ").removeprefix("Device Frame:").strip()))
        elif found := _THREAD.search(line):
            if thread is None:
                indices = tuple(int(number) for number in found.groups())
                thread, where = indices[:3], indices[3:]
        elif found := _ADDRESS.match(line):
            address = found["address"]
            details += [found["what"].strip(" .")] if found["what"].strip(" .") else []
        elif line.startswith("and is "):
            details.append(line)
    return Finding(message, severity, tuple(frames), tuple(others), thread, where, address, tuple(details))


def _joined(block: list[str]) -> list[str]:
    """The lines of a finding; a place that was broken over two lines is made one again."""
    lines: list[str] = []
    for line in block:
        if lines and (line.startswith("in ") or _HAZARDS.match(line)):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return lines


def _frame(text: str) -> Frame:
    match = _OLD_FRAME.match(text) or _FRAME.match(text)
    if match is None:
        return Frame(text)
    line = match["line"]
    return Frame(match["function"], match["file"], None if line is None else int(line))

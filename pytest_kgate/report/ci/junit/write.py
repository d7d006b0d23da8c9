"""Records as JUnit's XML, for what shows test results and was not there when pytest ran."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pytest_kgate.report.ci.headline import figures
from pytest_kgate.report.ci.properties import PREFIX
from pytest_kgate.report.ci.properties import properties_of
from pytest_kgate.report.format import visible
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.rows import split_test
from pytest_kgate.report.text.failure import failure_text

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record

_WIDTH = 100


def junit(records: Sequence[Record]) -> str:
    """One test case a record. Properties are the suite's, the one place that xunit2 has for them."""
    results = [VERDICTS[record["verdict"]].reported for record in records]
    counts = {"tests": len(records), "failures": results.count("failed"), "errors": 0}
    counts["skipped"] = results.count("skipped")
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(suites, "testsuite", name="kgate")
    for name, count in counts.items():
        suite.set(name, str(count))
    if records:
        suite.set("timestamp", visible(records[0]["started"]))
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in suite_properties(records):
            ElementTree.SubElement(properties, "property", name=name, value=value)
    for record in records:
        suite.append(_case(record))
    ElementTree.indent(suites)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(suites, encoding='unicode')}\n"


def suite_properties(records: Iterable[Record]) -> list[tuple[str, str]]:
    """Names and values for a whole suite: `kgate.ratio tests/test_a.py::test_b[c]` and `0.454`."""
    return [(f"{name} {visible(one['test'])}", visible(str(value))) for one in records for name, value in _of(one)]


def _of(record: Record) -> Iterable[tuple[str, str | float]]:
    attempt = record.get("attempt", 1)
    for name, value in properties_of(record):
        yield (name if attempt == 1 else f"{PREFIX}try{attempt}.{name.removeprefix(PREFIX)}"), value


def case_of(record: Record) -> tuple[str, str]:
    """Class and name of a record's test, as pytest's own report has them."""
    path, function, parameters = split_test(record["test"])
    *classes, name = function.split("::")
    module = re.sub(r"\.py$", "", path).replace("/", ".")
    name += f"[{parameters}]" if parameters else ""
    return ".".join(part for part in (module, *classes) if part), name


def _case(record: Record) -> ElementTree.Element:
    where, name = case_of(record)
    name += f" #{record['call'] + 1}" if record["call"] else ""
    seconds = sum(record.get("seconds", {}).values())
    case = ElementTree.Element(
        "testcase",
        classname=visible(where),
        name=visible(name),
        time=f"{seconds:.3f}",
    )
    reported = VERDICTS[record["verdict"]].reported
    if reported in ("failed", "skipped"):
        kind = {"failed": "failure", "skipped": "skipped"}[reported]
        found = ElementTree.SubElement(case, kind, type=record["verdict"], message=_message(record))
        found.text = visible(failure_text(record, _WIDTH), lines=True)
    return case


def _message(record: Record) -> str:
    about = f"{record['verdict']}: {record['candidate']['name']} on {record['problem']['name']}"
    return visible("; ".join(part for part in (about, figures(record), record["reason"]) if part))

"""Knobs of a test: from its search marker, the champion, the command line; what a record tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)
from record_schema import demand_valid

from pytest_kgate.build.registry import find_source
from pytest_kgate.device.fake.device import FakeDevice
from pytest_kgate.evaluation.options.options import Options
from pytest_kgate.search.journal.champions import FILE_NAME
from pytest_kgate.search.journal.champions import Champion
from pytest_kgate.search.journal.champions import record_champion
from pytest_kgate.search.journal.champions import source_hash
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.session.fixtures.sources.knobs import KNOBS
from pytest_kgate.session.fixtures.sources.knobs import knobs_for
from pytest_kgate.session.fixtures.sources.knobs import laid_over
from pytest_kgate.session.fixtures.sources.knobs import without_effect

MARKED = """
@pytest.mark.search(macro={"BLOCK": [16, 32, 64]}, micro={"MODE": ["a", "b"]}, where=["BLOCK < 64 or MODE == 'a'"])
def test_it(kbench, knobs):
    kbench(good, RELU, name=f"{knobs['BLOCK']} {knobs['MODE']}", check=False)
"""

KERNELS = """
import pytest

@pytest.mark.parametrize("name", ["mine.cpp"])
@pytest.mark.search(micro={"STAGES": [2, 3], "PAD": [0, 8]})
def test_kernel(kernels, knobs, name):
    kernels(name, **knobs)

def test_other(kbench):
    pass
"""

SOURCE = """
#ifndef STAGES  // knob: how many
#define STAGES 3
#endif
#ifndef PAD  // knob: computed, so that no value is known here
#define PAD (STAGES * 8)
#endif
"""


@pytest.fixture
def records(pytester: pytest.Pytester) -> Any:
    """Records of a session with these arguments, by test; what it printed is in `printed` then."""

    def run(*arguments: str) -> dict[str, Any]:
        result = pytester.runpytest_inprocess("--kgate-json=r.json", "--kgate-until=build", *arguments)
        run.printed = result.stdout.str() + result.stderr.str()  # type: ignore[attr-defined]
        content = json.loads(Path("r.json").read_text())
        demand_valid(content)
        return {record["test"].partition("::")[2]: record for record in content["records"]}

    return run


def champion(pytester: pytest.Pytester, **changed: Any) -> Champion:
    """One of the test above, for its own file."""
    what: dict[str, Any] = {
        "test": "test_marked.py::test_it",
        "source": "test_marked.py",
        "source_hash": source_hash("test_marked.py", pytester.path),
        "device": "fake",
        "shapes": (),
        "knobs": Configuration.of({"BLOCK": 32, "MODE": "b"}),
    }
    return Champion(**{**what, **changed})


def test_marker_gives_first_values_then_the_champion_and_the_command_line_is_over_both(
    suite: Any, pytester: pytest.Pytester, records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(MARKED)
    next(pytester.path.glob("test_*.py")).rename(pytester.path / "test_marked.py")
    test = records()["test_it"]
    assert test["candidate"]["name"] == "16 a"
    assert test["asked"]["knobs"] == {
        "BLOCK": {"value": 16, "source": "first value"},
        "MODE": {"value": "a", "source": "first value"},
    }
    record_champion(pytester.path / FILE_NAME, champion(pytester))
    assert records()["test_it"]["asked"]["knobs"]["BLOCK"] == {"value": 32, "source": "champion"}
    test = records("--kgate-knob", "BLOCK=64", "--kgate-knob", "MOED=a")["test_it"]
    assert test["candidate"]["name"] == "64 b"  # as it was asked for, whatever the constraint says
    assert test["asked"]["knobs"]["BLOCK"] == {"value": 64, "source": "--kgate-knob"}
    assert test["asked"]["knobs"]["MODE"]["source"] == "champion"
    assert " ".join(["--kgate-knob", "BLOCK=64", "--kgate-knob", "MOED=a"]) in " ".join(test["asked"]["command"])
    (warning,) = test["warnings"]
    assert "MOED is no knob of the test's search marker. Did you mean 'MODE'?" in warning
    # A champion whose source has changed, and one that the marker no longer allows.
    record_champion(pytester.path / FILE_NAME, champion(pytester, source_hash="old"))
    test = records()["test_it"]
    assert test["candidate"]["name"] == "16 a"
    assert "test_marked.py has changed since" in test["warnings"][0]
    record_champion(pytester.path / FILE_NAME, champion(pytester, knobs=Configuration.of({"BLOCK": 64, "MODE": "b"})))
    monkeypatch.setenv("KGATE_KNOB", "MODE=c")
    test = records()["test_it"]
    assert test["candidate"]["name"] == "16 c"
    assert test["asked"]["knobs"]["MODE"] == {"value": "c", "source": "KGATE_KNOB"}
    assert "--kgate-knob=MODE=c" in test["asked"]["command"]
    assert "BLOCK < 64 or MODE == 'a' is false" in test["warnings"][0]
    # A file that can't be used fails the test, with a sentence, unless everything is given.
    (pytester.path / FILE_NAME).write_text("<<<<<<< HEAD\n")
    assert records() == {}
    assert "has a merge conflict in it" in records.printed
    assert records("--kgate-knob=BLOCK=16 MODE=b")["test_it"]["candidate"]["name"] == "16 b"


def test_sweep_runs_each_configuration_that_constraints_leave_as_a_test(suite: Any, records: Any) -> None:
    suite(MARKED + "\ndef test_other(kbench):\n    kbench(good, RELU, check=False)\n")
    found = records("--kgate-sweep", "MODE=a,b BLOCK=32,64", "-v")
    swept = {name: record["candidate"]["name"] for name, record in found.items()}
    assert swept == {
        "test_it[BLOCK=32,MODE=a]": "32 a",
        "test_it[BLOCK=64,MODE=a]": "64 a",
        "test_it[BLOCK=32,MODE=b]": "32 b",
        "test_other": "good",
    }
    assert "leaves out 1 of 4 configurations, by the constraints of" in records.printed
    one = found["test_it[BLOCK=64,MODE=a]"]
    assert one["asked"]["knobs"]["BLOCK"] == {"value": 64, "source": "--kgate-sweep"}
    assert any(word.endswith("::test_it[BLOCK=64,MODE=a]") for word in one["asked"]["command"])
    records("--kgate-sweep", "BLOCK=64 MODE=b,d")
    assert "test_it leave none of its 2 configurations" in records.printed
    records("-k", "other", "--kgate-sweep", "BLOCK=64 MODE=b,d")
    assert "1 passed" in records.printed
    unknown = one["test"].replace("BLOCK", "BOLCK")
    records(unknown, "--kgate-sweep", "BLOCK=64 MODE=a")
    assert f"not found: {unknown}" in records.printed


def test_kernels_take_knobs_that_their_source_has_and_say_which_it_lacks(pytester: pytest.Pytester) -> None:
    path = pytester.makefile(".cpp", mine=SOURCE)
    item, other = pytester.getitems(KERNELS)
    assert isinstance(item, pytest.Function)
    test: Any = SimpleNamespace(node=item, function=item.function, path=item.path, config=item.config)
    # The source's default, and of the knob that it computes the first of the marker.
    assert knobs_for(test, Options(), FakeDevice({})) == {"STAGES": 3, "PAD": 0}
    options = Options(knob=(("STAGES", 2), ("BLOKC", 4)), sources={"knob": "--kgate-knob"})
    given = knobs_for(test, options, FakeDevice({}))
    assert given == {"STAGES": 2, "PAD": 0, "BLOKC": 4}
    assert item.stash[KNOBS].notes == []
    assert laid_over(item, options, find_source(path), given) == {"STAGES": 2, "PAD": 0}
    assert laid_over(item, options, find_source(path), {"STAGES": 3}) == {"STAGES": 2}
    assert item.stash[KNOBS].notes == ["--kgate-knob: mine has no knob BLOKC, which sets nothing there."]
    without_effect(item, options, abs)  # a test that has the fixture knows its knobs
    assert len(item.stash[KNOBS].notes) == 1
    without_effect(other, options, abs)
    assert "its candidate is a callable, and it has no fixture `knobs`" in other.stash[KNOBS].notes[0]

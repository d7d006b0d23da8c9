"""kgate-champions.json: stable for git, whole or refused with a sentence, and silent of no champion that is too old."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.journal.champions import FILE_NAME
from pytest_kgate.search.journal.champions import Champion
from pytest_kgate.search.journal.champions import champion_for
from pytest_kgate.search.journal.champions import device_of
from pytest_kgate.search.journal.champions import load_champions
from pytest_kgate.search.journal.champions import record_champion
from pytest_kgate.search.journal.champions import source_hash
from pytest_kgate.search.space.configuration import Configuration

TEST = "tests/test_mine.py::test_mine"
SHAPE = "1x8x512x64"


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.cu").write_text('#include "mine.cuh"\nint a;\n')
    (tmp_path / "mine.cuh").write_text("int b;\n")
    return tmp_path / FILE_NAME


def mine(file: Path, **changed: object) -> Champion:
    champion = Champion(
        test=TEST,
        source="mine.cu",
        source_hash=source_hash("mine.cu", file.parent) or "",
        device="sm_90a",
        shapes=(SHAPE,),
        knobs=Configuration.of({"STAGES": 2, "MODE": "max-autotune", "FAST": True}),
        ratios={SHAPE: (0.9, 0.88, 0.92)},
        alpha=0.0125,
        processes=5,
        journal="search.jsonl",
    )
    return replace(champion, **changed)  # type: ignore[arg-type]


def test_file_is_the_same_whatever_order_champions_came_in(file: Path) -> None:
    champions = [mine(file), mine(file, test="tests/a.py"), mine(file, device="sm_80"), mine(file, shapes=("b", "a"))]
    texts = set()
    for order in (champions, champions[::-1]):
        file.unlink(missing_ok=True)
        for one in order:
            record_champion(file, one)
        texts.add(file.read_text())
    assert len(texts) == 1
    read = load_champions(file)
    assert mine(file) in read
    assert mine(file, shapes=("a", "b")) in read
    assert [one.test for one in read] == ["tests/a.py", TEST, TEST, TEST]


def test_new_champion_takes_the_place_of_the_one_before(file: Path) -> None:
    record_champion(file, mine(file, source_hash="old"))
    record_champion(file, mine(file, knobs=Configuration.of({"STAGES": 3})))
    assert load_champions(file) == (mine(file, knobs=Configuration.of({"STAGES": 3})),)


def test_champion_is_used_for_its_test_shape_and_device_alone(file: Path) -> None:
    def found(test: str = f"{TEST}[{SHAPE}]", shapes: str = SHAPE, devices: str = "sm_90a") -> Champion | None:
        return champion_for(champions, test, [shapes], [devices], file.parent).champion

    champions = [mine(file), mine(file, test="tests/test_mine.py", knobs=Configuration.of({"STAGES": 9}))]
    assert found() == champions[0]
    assert found(TEST) == champions[0]
    assert found("tests/test_mine.py::test_other") == champions[1]
    assert found("tests/test_mine.py::test_mine_too") == champions[1]
    assert found(shapes="1x8x4096x64") is None
    assert found(devices="sm_80") is None
    champions = [mine(file, shapes=(f"{TEST}[impl0-x]",))]
    assert found(f"{TEST}[impl0-x]", shapes="") == champions[0]


@pytest.mark.parametrize("name", ["mine.cu", "mine.cuh"])
def test_champion_of_a_source_that_has_changed_is_not_used_and_that_is_said(file: Path, name: str) -> None:
    champions = [mine(file)]
    assert champion_for(champions, TEST, [SHAPE], ["sm_90a"], file.parent).passed_over == ""
    (file.parent / name).write_text("int c;\n")
    found = champion_for(champions, TEST, [SHAPE], ["sm_90a"], file.parent)
    assert found.champion is None
    assert "mine.cu has changed since" in found.passed_over
    (file.parent / "mine.cu").unlink()
    assert "mine.cu is gone" in champion_for(champions, TEST, [SHAPE], ["sm_90a"], file.parent).passed_over


def test_sources_are_files_or_shipped_implementations(file: Path) -> None:
    (file.parent / "mine.py").write_text("x = 1\n")
    hashes = [source_hash(name, file.parent) for name in ("mine.cu", "mine.py", "mma", "no_such", "no.py", "no.cu")]
    assert [one is None for one in hashes] == [False, False, False, True, True, True]
    assert len(set(hashes[:3])) == 3


def test_device_is_named_by_what_champions_depend_on() -> None:
    assert device_of({"device": "cuda", "gpu": {"capability": "9.0", "name": "NVIDIA H100"}}) == "sm_90a"
    assert device_of({"device": "host", "cpu": {"model": "AMD EPYC"}}) == "AMD EPYC"
    assert device_of({"device": "fake"}) == "fake"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('  "version": 1', '<<<<<<< HEAD\n  "version": 1\n=======\n>>>>>>> other', "merge conflict"),
        ('"champions": [', '"champions": [', "not JSON"),  # and cut
        ('"version": 1', '"version": 99', "is of version 99"),
        ('"champions": [', '"champion": [', "has no list of champions"),
        ('"STAGES": 2', '"STAGES": [2]', "champion 1 has no value that makes sense for STAGES"),
        ('"test": "tests', '"tset": "tests', "champion 1 has no test"),
        ('"processes": 5', '"processes": "5"', "champion 1 has '5' as its processes"),
        ('"alpha": 0.0125', '"alpha": NaN', "no value that makes sense for alpha"),
        ('"STAGES": 2', '"STAGES": Infinity', "no value that makes sense for STAGES"),
        ("0.88,", "", "no value that makes sense for 1x8x512x64"),
    ],
)
def test_damaged_file_gives_a_sentence_and_stays_as_it_is(file: Path, old: str, new: str, said: str) -> None:
    record_champion(file, mine(file))
    assert old in file.read_text()
    text = file.read_text()[: 200 if old == new else None].replace(old, new)
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        load_champions(file)
    with pytest.raises(UsageError, match=said):
        record_champion(file, mine(file))
    assert file.read_text() == text


def test_champion_of_a_source_that_no_file_can_be_is_not_used(file: Path) -> None:
    for source in ("a\0b.cu", "x" * 5000 + ".cu", "."):
        odd = mine(file, source=source)
        assert champion_for([odd], TEST, [SHAPE], ["sm_90a"], file.parent).champion is None


def test_two_champions_of_one_thing_are_refused(file: Path) -> None:
    record_champion(file, mine(file))
    content = json.loads(file.read_text())
    content["champions"] *= 2
    file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="two champions of"):
        load_champions(file)

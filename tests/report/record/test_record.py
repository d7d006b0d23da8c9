"""The layout of records: what is written is what is read, and damaged files are refused in words."""

from __future__ import annotations

import copy
import enum
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_schema import SCHEMA_FILE
from record_schema import demand_valid
from record_schema import json_schema
from record_schema import schema_text
from sample_records import error_record
from sample_records import session
from sample_records import speed_record
from sample_records import wrong_record

import pytest_kgate
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.report.record.document import SCHEMA
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.document import load
from pytest_kgate.report.record.document import merge
from pytest_kgate.report.record.document import parse
from pytest_kgate.report.record.file import RecordFile
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.record.samples import encode_samples
from pytest_kgate.report.record.values import plain
from pytest_kgate.report.record.verdicts import overall_verdict
from pytest_kgate.report.text.failure import failure_text
from pytest_kgate.report.text.summary import summary_table
from pytest_kgate.report.together.history.point import points_of

jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def write(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(document(session()) | changes))
    return path


def test_samples_come_back_bit_for_bit() -> None:
    samples = np.random.default_rng(7).standard_normal((96, 10)) * 1e-6
    samples[3, 4], samples[5, 6] = np.inf, 5e-324
    encoded = json.loads(json.dumps(encode_samples(samples)))
    np.testing.assert_array_equal(decode_samples(encoded), samples)


def test_samples_of_a_strided_view_come_back_too() -> None:
    samples = np.arange(24.0).reshape(4, 6)[:, ::2]
    np.testing.assert_array_equal(decode_samples(encode_samples(samples)), samples)


@pytest.mark.parametrize(
    "damage",
    [{"data": "!"}, {"data": "AAAA"}, {"shape": [1, 2]}, {"dtype": "<f4"}, {"encoding": "gzip"}, {"shape": None}],
)
def test_damaged_samples_are_refused_in_words(damage: dict[str, Any]) -> None:
    encoded = encode_samples(np.ones((3, 4)))
    with pytest.raises(KgateError, match="can't be decoded"):
        decode_samples({**encoded, **damage})


def test_every_kind_of_record_fits_the_schema(validator: jsonschema.Draft202012Validator) -> None:
    kinds = [*session(), wrong_record(error=None, worst={"candidate": "nan"}), error_record()]
    validator.validate(document(kinds))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "GOOD"),
        (("gates", 0, "verdict"), "WRONG"),
        (("gates", 0, "bound"), 0),
        (("gates", 0, "ratio", "low"), "small"),
        (("problem", "shape"), [1, 2, 3]),
        (("timing", "cache"), "lukewarm"),
        (("timing", "candidate", "samples", "data"), "not base64"),
        (("candidate", "unheard_of"), 1),
        (("unheard_of",), 1),
    ],
)
def test_schema_rejects_what_is_not_a_record(
    validator: jsonschema.Draft202012Validator, path: tuple[Any, ...], value: Any
) -> None:
    content = copy.deepcopy(document([speed_record()]))
    place = content["records"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(content)


@pytest.mark.parametrize(
    ("gates", "correctness", "ran", "expected"),
    [
        ([], None, True, "MEASURED"),
        ([], "PASS", True, "PASS"),
        ([], "FAIL", True, "WRONG"),
        (["PASS"], "PASS", True, "PASS"),
        (["PASS", "INCONCLUSIVE"], None, True, "INCONCLUSIVE"),
        (["INCONCLUSIVE", "FAIL"], None, True, "FAIL"),
        (["FAIL", "INVALID"], "PASS", True, "INVALID"),
        (["INVALID"], "FAIL", True, "WRONG"),
        (["PASS"], "FAIL", False, "ERROR"),
    ],
)
def test_record_has_the_worst_verdict(gates: list[str], correctness: str | None, ran: bool, expected: str) -> None:
    judged = [{"verdict": verdict} for verdict in gates]
    checked = None if correctness is None else {"verdict": correctness}
    assert overall_verdict(judged, checked, ran) == expected


@pytest.mark.parametrize(
    ("verdict", "bound", "said"),
    [("PASS", 0.5, "is not below its bound 0.5"), ("FAIL", 0.95, "is not above its bound 0.95")],
)
def test_verdict_that_its_own_interval_contradicts_is_no_record(verdict: str, bound: float, said: str) -> None:
    record = speed_record()
    record["gates"][0] |= {"verdict": verdict, "bound": bound}  # type: ignore[typeddict-item]
    with pytest.raises(KgateError) as refused:
        parse(json.dumps(document([record])).encode(), Path("records.json"))
    assert f"its gates[0] is {verdict}, and its ratio's interval [0.6" in refused.value.what
    assert said in refused.value.what


def test_odd_values_become_json() -> None:
    class Kind(str, enum.Enum):
        ONE = "one"

    odd = {
        "numpy": np.float32(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "array": np.arange(2),
        "enum": Kind.ONE,
        "tuple": (1, None),
        "nan": float("nan"),
        "infinite": [np.inf, -np.inf],
        "path": Path("a"),
        3: "key",
    }
    text = json.dumps(plain(odd), allow_nan=False)
    assert json.loads(text) == {
        "numpy": 0.5,
        "count": 3,
        "flag": True,
        "array": [0, 1],
        "enum": "one",
        "tuple": [1, None],
        "nan": "NaN",
        "infinite": ["Infinity", "-Infinity"],
        "path": "a",
        "3": "key",
    }


def test_loaded_records_are_those_written(tmp_path: Path) -> None:
    assert load(write(tmp_path / "a.json")) == session()


def test_a_record_in_two_files_counts_once(tmp_path: Path) -> None:
    first, second, other = speed_record("t.py::a"), speed_record("t.py::b"), speed_record("t.py::a", call=1)
    assert merge([[first, second], [first, other]]) == [first, second, other]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .*gone\.json"):
        load(tmp_path / "gone.json")


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1, 2", b'{"schema": "pytest-kgate/records", "rec', b"[" * 100_000])
def test_damaged_file_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes(content)
    with pytest.raises(KgateError, match="not JSON, or is cut off"):
        load(path)


@pytest.mark.parametrize("lines", [1, 2])
def test_history_is_sent_to_its_own_verb(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("".join(point.line() for point in [*points_of(speed_record())] * lines))
    with pytest.raises(UsageError) as refused:
        load(path)
    assert refused.value.what == f"{path} holds a history, and no records."
    assert refused.value.todo.startswith(f"`kgate history {path}` shows it. ")


@pytest.mark.parametrize(
    ("content", "by_hand"), [("def test_it(): pass", False), ('{"schema": "pytest-kgate/records", "rec', True)]
)
def test_lines_are_to_be_deleted_in_files_of_records_only(tmp_path: Path, content: str, by_hand: bool) -> None:
    path = tmp_path / "some_test.py"
    path.write_text(content)
    with pytest.raises(KgateError) as refused:
        load(path)
    assert ("deleted by hand" in refused.value.todo) == by_hand


def test_file_of_a_session_killed_while_it_wrote_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "torn.json"
    file = RecordFile(path)
    for record in session():
        file.append(record)
    content = path.read_bytes()
    last = content.rindex(b"\n{")
    for cut in (last + 2, last + 100, len(content) - 10):
        path.write_bytes(content[:cut] + b" " * 50)
        with pytest.warns(UserWarning, match="ends in the middle of a record; 9 whole ones were read"):
            assert load(path) == session()[:-1]


@pytest.mark.parametrize("content", ["[]", "3", '{"schema": "other"}', "{}"])
def test_other_json_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="holds no records"):
        load(path)


def test_newer_version_says_to_upgrade(tmp_path: Path) -> None:
    with pytest.raises(KgateError, match=r"(?s)version 2.*Upgrade"):
        load(write(tmp_path / "new.json", version=2))


def test_schema_is_the_one_that_the_types_make() -> None:
    written = SCHEMA_FILE.read_text(encoding="utf-8")
    assert written == schema_text(), "make it anew: python tests/support/record_schema.py"


COMMITTED = [
    path
    for path in sorted((Path(__file__).parents[3] / "benchmarks").rglob("*.json"))
    if SCHEMA in path.read_text(encoding="utf-8")[:200]
]
"""Files of records of earlier commits, version 1 among them."""


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_files_of_records_are_read_and_fit_the_schema(path: Path) -> None:
    demand_valid(json.loads(path.read_text(encoding="utf-8")))
    records = load(path)
    assert records
    assert all(failure_text(record) for record in records)
    assert summary_table(records)


def test_there_are_committed_files_of_records() -> None:
    assert COMMITTED


@pytest.mark.parametrize("broken", [None, [3], [{"test": "a"}]])
def test_file_without_whole_records_is_refused(tmp_path: Path, broken: Any) -> None:
    with pytest.raises(KgateError, match="is damaged"):
        load(write(tmp_path / "broken.json", records=broken))


def test_importing_the_report_room_is_cheap() -> None:
    package = Path(pytest_kgate.__file__).parent
    files = (path.relative_to(package.parent).with_suffix("") for path in (package / "report").rglob("[a-z]*.py"))
    modules = [".".join(file.parts) for file in files]
    code = f"import sys, pytest_kgate.cli, {', '.join(modules)}\n"
    code += "print(*({'torch', 'numpy', 'scipy', 'rich'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""

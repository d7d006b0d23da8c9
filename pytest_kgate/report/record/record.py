"""What a record is, and how a file of records is read. records.schema.json beside this file describes every field.

A record is the JSON-able account of one `kbench` call with all its gates; in memory it is a dict of built-in types.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import enum
import json
import math
import warnings
import zlib
from collections.abc import Iterable
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeAlias
from typing import TypedDict

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Record: TypeAlias = "dict[str, Any]"

SCHEMA = "pytest-kgate/records"
VERSION = 1

VERDICTS = ("ERROR", "WRONG", "INVALID", "FAIL", "INCONCLUSIVE", "PASS", "MEASURED")
"""Of a record, worst first. ERROR: the candidate could not run. WRONG: its answer is not the exact one, so it was not
timed, or its timed launches are not to be believed. MEASURED: nothing was demanded."""

ZLIB_LEVEL = 6
"""Of the 7.7 kB of 96 rounds, 2.5 kB are left where the timer ticks in 32 ns, else 6.8 kB; level 9 gains nothing."""


class Samples(TypedDict):
    """An array of float64 as JSON: its little-endian bytes in C order, zlib, base64."""

    encoding: str
    dtype: str
    shape: list[int]
    data: str


def encode_samples(samples: NDArray[np.float64]) -> Samples:
    """The array (rounds, samples), in seconds, as JSON; bit for bit what `decode_samples` returns."""
    import numpy as np

    array = np.ascontiguousarray(samples, dtype="<f8")
    packed = base64.b64encode(zlib.compress(array.tobytes(), ZLIB_LEVEL))
    return {
        "encoding": "zlib+base64",
        "dtype": "<f8",
        "shape": [int(extent) for extent in np.shape(samples)],
        "data": packed.decode("ascii"),
    }


def decode_samples(encoded: Mapping[str, Any]) -> NDArray[np.float64]:
    """The array that `encode_samples` was given. Raises `KgateError` where the data can't be what the record says."""
    import numpy as np

    try:
        if (encoded["encoding"], encoded["dtype"]) != ("zlib+base64", "<f8"):
            raise ValueError(f"encoding {encoded['encoding']!r} of {encoded['dtype']!r} is not known")
        unpacked = zlib.decompress(base64.b64decode(encoded["data"], validate=True))
        shape = tuple(int(extent) for extent in encoded["shape"])
        array: NDArray[np.float64] = np.frombuffer(unpacked, dtype="<f8").reshape(shape).astype(np.float64)
        return array
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise KgateError(
            f"The samples of a record can't be decoded: {error}.",
            "The file was edited or damaged; take it anew from where it was written.",
        ) from error


def arm_facts(samples: NDArray[np.float64]) -> dict[str, Any]:
    """One arm of a record, from all its samples, (rounds, samples) net seconds."""
    import numpy as np

    p10, median, p90 = np.quantile(samples, [0.1, 0.5, 0.9])
    return {
        "median_seconds": median,
        "p10_seconds": p10,
        "p90_seconds": p90,
        "samples": encode_samples(samples),
    }


def overall_verdict(
    gates: Iterable[Mapping[str, Any]],
    correctness: Mapping[str, Any] | None = None,
    ran: bool = True,
) -> str:
    """The verdict of a record: the worst of its gates and of the correctness check.

    `ran` is False where the candidate could not be built, raised, hung or faulted.
    """
    found = [str(plain(gate["verdict"])) for gate in gates]
    if correctness is not None:
        checked = str(plain(correctness["verdict"]))
        found.append(checked if checked in ("PASS", "INVALID") else "WRONG")
    if not ran:
        found.append("ERROR")
    return min(found, key=VERDICTS.index, default="MEASURED")


def plain(value: Any) -> Any:
    """The value in JSON's own types, whatever it is: one odd value must not lose a record.

    Enums become their values, numpy scalars the number inside, and numbers that JSON lacks the strings "NaN",
    "Infinity" and "-Infinity", which `float()` reads back.
    """
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    return str(value)


def now() -> str:
    """The time as records write it: ISO 8601 with the zone, to the microsecond."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def document(records: Iterable[Record], created: str | None = None) -> dict[str, Any]:
    """The whole of a file of records."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": created or now(),
        "records": plain(list(records)),
    }


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file of records."""
    text = Path(__file__).with_name("records.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def load(path: str | PathLike[str]) -> list[Record]:
    """The records of a file; of one that ends in the middle of a record, those before it, with a warning.

    Raises `UsageError` for a file that is missing or no file of records, `KgateError` for one that is damaged or was
    written by a newer version.
    """
    path, text = Path(path), ""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no file {path}.", "`pytest -m perf --kgate-json PATH` writes the records of a session."
        ) from error
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.", "Check the path and its permissions.") from error
    except (ValueError, RecursionError) as error:
        torn = _torn(text)
        if torn is not None:
            count = len(torn["records"])
            warnings.warn(f"{path} ends in the middle of a record; {count} whole ones were read", stacklevel=2)
            return _checked(torn, path)
        raise KgateError(
            f"{path} is not JSON, or is cut off: {error}.",
            "Take it anew from where it was written; a file of records holds one record on each line but the first and "
            "last, so that a damaged line can be deleted by hand.",
        ) from error
    return _checked(content, path)


def _torn(text: str) -> dict[str, Any] | None:
    """What a session that was killed while it wrote has left: whole lines, then a part of one."""
    head, *lines = text.rstrip().split("\n")
    try:
        content: dict[str, Any] = json.loads(f"{head}]}}")
        content["records"] = [json.loads(line.removesuffix(",")) for line in lines[:-1]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return content


def _checked(content: Any, path: Path) -> list[Record]:
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} holds no records of pytest-kgate: its schema is not {SCHEMA!r}.",
            "Give a file that `pytest --kgate-json PATH` wrote.",
        )
    version = content.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        raise KgateError(
            f"{path} has version {version!r} of the record layout; this pytest-kgate reads version {VERSION}.",
            "Upgrade pytest-kgate." if newer else "Measure again, or take the file anew from where it was written.",
        )
    records = content.get("records")
    if not isinstance(records, list):
        raise KgateError(f"{path} is damaged: it has no list of records.", "Take it anew from where it was written.")
    for number, record in enumerate(records, start=1):
        if not isinstance(record, dict) or not {"test", "verdict", "gates", "problem"} <= record.keys():
            raise KgateError(
                f"{path} is damaged: its record {number} lacks its test, verdict, gates or problem.",
                "Take it anew from where it was written.",
            )
    return merge([records])


def merge(parts: Iterable[Iterable[Record]]) -> list[Record]:
    """The records of several files, in the order given; a record that is in two files counts once."""
    seen: dict[tuple[Any, ...], Record] = {}
    for part in parts:
        for record in part:
            identity = (record["test"], record.get("call"), record.get("started"))
            seen.setdefault(identity, record)
    return list(seen.values())

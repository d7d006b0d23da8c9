"""One gate of one session, as a line of a history: what it was, what was found, and under which conditions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report.record.values import parsed
from pytest_kgate.report.rows import number

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.gate_facts import GateFacts

SCHEMA = "pytest-kgate/history"
VERSION = 1

_DIGITS = 7
"""Significant, of a round's log ratio: its own noise is in the third."""


@dataclass(frozen=True)
class Point:
    """What one line of a history says of a gate; a field is None where it is not known, or there is none."""

    test: str
    """The test's node id."""
    call: int
    """0 for its first `kbench` call."""
    gate: int | None
    """0 for the call's first gate; None where nothing was demanded of the latency."""
    problem: str
    dtype: str | None
    shape: tuple[int, ...] | None
    candidate: str
    implementation: str | None
    source_hash: str | None
    reference: str
    commit: str | None
    dirty: bool | None
    started: str
    """ISO 8601, with the zone."""
    verdict: str
    bound: float | None
    quantile: float
    """Of the latencies that the ratio is of."""
    low: float | None
    ratio: float | None
    high: float | None
    """Candidate over reference with its interval."""
    candidate_seconds: float
    reference_seconds: float
    """Medians."""
    log_ratios: tuple[float, ...]
    """Of the rounds."""
    device: str | None
    gpu: str | None
    """Its model; of a host, that of its CPU."""
    uuid: str | None
    driver: str | None
    cuda: str | None
    torch: str | None
    timer: str
    cache: str
    digest: str
    """Of the whole record that it is from."""

    @property
    def identity(self) -> tuple[str, int | None]:
        """What no two lines have in common, unless one is a copy of the other."""
        return self.digest, self.gate

    @property
    def conditions(self) -> tuple[str | None, ...]:
        """What two latencies must share to be compared. A card of the same model is another one."""
        found = (self.device, self.gpu, self.uuid, self.driver, self.cuda, self.torch, self.timer, self.cache)
        return (*found, self.dtype)

    def line(self) -> str:
        """The point as a line of a file, with its end."""
        content = {"schema": SCHEMA, "version": VERSION, **asdict(self)}
        return json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n"


_NAMES = tuple(field.name for field in fields(Point))

_LEAST, _MOST = 1e-15, 1e15
"""Of ratios, and of seconds: others are damage, and could not be drawn."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and _LEAST < value < _MOST


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _or_nothing(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_FIT: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("test", "problem", "candidate", "reference", "started", "verdict"), _is_text),
    **dict.fromkeys(("timer", "cache", "digest"), _is_text),
    **dict.fromkeys(("dtype", "implementation", "source_hash", "commit", "device"), _or_nothing(_is_text)),
    **dict.fromkeys(("gpu", "uuid", "driver", "cuda", "torch"), _or_nothing(_is_text)),
    **dict.fromkeys(("candidate_seconds", "reference_seconds"), _is_size),
    **dict.fromkeys(("bound", "low", "ratio", "high"), _or_nothing(_is_size)),
    "call": _is_count,
    "gate": _or_nothing(_is_count),
    "quantile": _is_share,
    "dirty": _or_nothing(lambda value: isinstance(value, bool)),
    "shape": _or_nothing(lambda value: isinstance(value, list) and all(map(_is_count, value))),
    "log_ratios": _or_nothing(lambda value: isinstance(value, list) and {float, int}.issuperset(map(type, value))),
}
"""What a line may say, by name: it may come from another machine, by a branch to which many push."""


class NewerVersion(ValueError):
    """The line was written by a later version, in a layout that this one does not know."""


def point_of(line: str | bytes) -> Point:
    """The point of a line. Raises `NewerVersion`, or `ValueError` where it is no whole line of a history."""
    content = parsed(line.decode() if isinstance(line, bytes) else line)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError("it is no line of a history")
    version = content.get("version")
    if version != VERSION:
        raise NewerVersion(version) if isinstance(version, int) and version > VERSION else ValueError(version)
    found: dict[str, Any] = {name: content.get(name) for name in _NAMES}
    if wrong := next((name for name, fits in _FIT.items() if not fits(found[name])), None):
        raise ValueError(f"its {wrong} can't be that")
    found["log_ratios"] = tuple(found["log_ratios"] or ())
    found["shape"] = tuple(found["shape"]) if found["shape"] else None
    return Point(**found)


def points_of(record: Record) -> Iterator[Point]:
    """One for each latency gate of a record, or one for its race where none is set; none where nothing was timed.

    Nor is there one of a race against another revision, which is another one each day. Raises `KgateError` where the
    record's samples can't be decoded.
    """
    timing = record["timing"]
    if timing is None or not timing["rounds"] or "against" in record:
        return
    digest = digest_of(record)
    gates: list[GateFacts | None] = [*record["gates"]] or [None]
    environment = record["environment"]
    gpu, git = environment.get("gpu") or {}, environment.get("git") or {}
    reference = record["reference"]
    for index, gate in enumerate(gates):
        quantile = gate["quantile"] if gate else 0.5
        ratio = gate["ratio"] if gate else timing.get("ratio")
        seconds = [number(timing[arm]["median_seconds"]) for arm in ("candidate", "reference")]
        if not all(0 < one < float("inf") for one in seconds):
            continue
        yield Point(
            test=record["test"],
            call=record["call"],
            gate=index if gate else None,
            problem=record["problem"]["name"],
            dtype=record["problem"]["dtype"],
            shape=tuple(record["problem"]["shape"] or ()) or None,
            candidate=record["candidate"]["name"],
            implementation=record["candidate"]["implementation"],
            source_hash=record["candidate"]["source_hash"],
            reference=" ".join(filter(None, (reference["name"], reference["backend"]))) if reference else "",
            commit=git.get("commit"),
            dirty=git.get("dirty"),
            started=record["started"],
            verdict=gate["verdict"] if gate else record["verdict"],
            bound=gate["bound"] if gate else None,
            quantile=quantile,
            low=_finite(ratio["low"]) if ratio else None,
            ratio=_finite(ratio["estimate"]) if ratio else None,
            high=_finite(ratio["high"]) if ratio else None,
            candidate_seconds=seconds[0],
            reference_seconds=seconds[1],
            log_ratios=_log_ratios(record, quantile),
            device=environment.get("device"),
            gpu=gpu.get("name") or (environment.get("cpu") or {}).get("model"),
            uuid=gpu.get("uuid"),
            driver=gpu.get("driver"),
            cuda=environment.get("cuda_runtime"),
            torch=(environment.get("packages") or {}).get("torch"),
            timer=timing["timer"],
            cache=timing["cache"],
            digest=digest,
        )


def digest_of(record: Record) -> str:
    """BLAKE2b of a record, whatever the order of its keys: 32 hexadecimal digits."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _finite(value: Any) -> float | None:
    found = number(value)
    return found if abs(found) < float("inf") else None


def _log_ratios(record: Record, quantile: float) -> tuple[float, ...]:
    import numpy as np  # here, since histories are read without it

    from pytest_kgate.report.record.samples import runs_of
    from pytest_kgate.statistics.estimates import log_ratios

    timing = record["timing"]
    assert timing is not None
    with np.errstate(all="ignore"):
        found = np.concatenate([log_ratios(run.candidate, run.reference, quantile) for run in runs_of(timing)])
    return tuple(float(f"{value:.{_DIGITS}g}") for value in found.tolist() if np.isfinite(value))

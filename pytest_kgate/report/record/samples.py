"""An array of samples as JSON, bit for bit."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import zlib
from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError
from pytest_kgate.problems.trees.foreign import said_by

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_kgate.report.record.facts.timing import ArmFacts
    from pytest_kgate.report.record.facts.timing import SamplesFacts
    from pytest_kgate.report.record.facts.timing import TimingFacts
    from pytest_kgate.statistics.gate_facts import PercentileFacts
    from pytest_kgate.statistics.judge_processes import Run

ZLIB_LEVEL = 6
"""Of the 7.7 kB of 96 rounds, 2.5 kB are left where the timer ticks in 32 ns, else 6.8 kB; level 9 gains nothing."""


_LARGEST = 2**28
"""Bytes of one arm's samples."""


def encode_samples(samples: NDArray[np.float64]) -> SamplesFacts:
    """The array (rounds, samples), in seconds, as JSON; bit for bit what `decode_samples` returns."""
    import numpy as np

    array = np.ascontiguousarray(samples, dtype="<f8")
    content = array.tobytes()
    packed = base64.b64encode(zlib.compress(content, ZLIB_LEVEL))
    return {
        "encoding": "zlib+base64",
        "dtype": "<f8",
        "shape": [int(extent) for extent in np.shape(samples)],
        "data": packed.decode("ascii"),
        "digest": hashlib.blake2b(content, digest_size=16).hexdigest(),
    }


def decode_samples(encoded: SamplesFacts) -> NDArray[np.float64]:
    """The array that `encode_samples` was given. Raises `KgateError` where the data can't be what the record says."""
    import numpy as np

    try:
        if (encoded["encoding"], encoded["dtype"]) != ("zlib+base64", "<f8"):
            raise ValueError(f"encoding {encoded['encoding']!r} of {encoded['dtype']!r} is not known")
        shape = tuple(int(extent) for extent in encoded["shape"])
        size = 8 * math.prod(shape)
        if size > _LARGEST:
            raise ValueError(f"{shape} are more than any race takes")
        packed = zlib.decompressobj()
        # No more than it says: a hundred kilobytes can be zlib's of a hundred megabytes.
        unpacked = packed.decompress(base64.b64decode(encoded["data"], validate=True), size + 1)
        if len(unpacked) != size or not packed.eof or packed.unused_data:
            raise ValueError(f"they are not the {size} bytes of {shape}")
        array: NDArray[np.float64] = np.frombuffer(unpacked, dtype="<f8").reshape(shape).astype(np.float64)
        return array
    except (KeyError, OverflowError, TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise KgateError(
            f"The samples of a record can't be decoded: {said_by(error)}.",
            "The file was edited or damaged; take it anew from where it was written.",
        ) from error


def runs_of(timing: TimingFacts) -> list[Run]:
    """The samples of a race by process, in their order; one where there was but one.

    Raises `KgateError` where they can't be decoded.
    """
    from pytest_kgate.statistics.judge_processes import Run

    arms = [decode_samples(timing[arm]["samples"]) for arm in ("candidate", "reference")]
    processes, offset = timing.get("processes"), float(timing.get("offset_sd", 0.0))
    if not processes:
        return [Run(arms[0], arms[1], offset)]
    runs, start = [], 0
    whole = len({one["samples_per_round"] for one in processes}) == 1
    for one in processes:
        rows = one["rounds"] if whole else one["rounds"] * one["samples_per_round"]
        candidate, reference = (side[start : start + rows].reshape(one["rounds"], -1) for side in arms)
        runs.append(Run(candidate, reference, offset))
        start += rows
    return runs


def arm_facts(samples: NDArray[np.float64], percentile: float | None = None) -> ArmFacts:
    """One arm of a record, from all its samples, (rounds, samples) net seconds.

    `percentile` is one that was asked for beside those that all records have.
    """
    import numpy as np

    from pytest_kgate.statistics.intervals.percentiles import PERCENTILES
    from pytest_kgate.statistics.intervals.percentiles import percentiles

    p10, median, p90 = np.quantile(samples, [0.1, 0.5, 0.9]).tolist()
    wanted = sorted({*PERCENTILES, *([] if percentile is None else [percentile])})
    return {
        "median_seconds": median,
        "p10_seconds": p10,
        "p90_seconds": p90,
        "percentiles": [one.to_dict() for one in percentiles(samples, wanted)] if np.isfinite(samples).all() else [],
        "samples": encode_samples(samples),
    }


def percentiles_of(arm: ArmFacts) -> list[PercentileFacts]:
    """p50, p90, p95 and p99 of an arm, as its record has them, or from its samples in records of older versions.

    A record has the one that was asked for, too.

    Empty where samples are not finite numbers, or where an older record is read by a Python without NumPy and SciPy.
    Raises `KgateError` where they can't be decoded.
    """
    if "percentiles" in arm:
        return arm["percentiles"]
    try:
        import numpy as np

        from pytest_kgate.statistics.intervals.percentiles import percentiles
    except ImportError:
        return []
    samples = decode_samples(arm["samples"])
    return [one.to_dict() for one in percentiles(samples)] if samples.size and np.isfinite(samples).all() else []

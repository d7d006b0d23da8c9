"""The log ratio of a record's race as an estimate, and the difference of two that shared its rounds. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError
from pytest_kgate.report.record.samples import decode_samples
from pytest_kgate.report.rows import number

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record
    from pytest_kgate.statistics.intervals.fixed_rounds import LogRatio


def log_ratio_estimate(record: Record) -> LogRatio | None:
    """log(candidate / reference), its standard error, that one's degrees of freedom, and the number of rounds.

    Over all rounds of the race, as if their number had been fixed before it: for an estimate, not for a verdict. None
    where the record holds no race that tells a ratio. Raises `KgateError` where its samples can't be decoded.
    """
    from pytest_kgate.statistics.intervals.fixed_rounds import of_samples  # here, since it needs numpy

    timing = record["timing"]
    return timing and of_samples(
        decode_samples(timing["candidate"]["samples"]),
        decode_samples(timing["reference"]["samples"]),
        tick_seconds=timing["tick_seconds"],
        offset_sd=number(timing.get("offset_sd", 0.0)),
    )


def log_latencies(record: Record) -> tuple[float, ...]:
    """The log of the candidate's latency in seconds in each round, as verdicts estimate it; none without a race."""
    import numpy as np

    from pytest_kgate.statistics.estimates import estimate

    timing = record["timing"]
    return () if timing is None else tuple(np.log(estimate(decode_samples(timing["candidate"]["samples"]))).tolist())


def paired_difference(one: Record, other: Record) -> LogRatio:
    """log(one candidate / the other) over the rounds that both shared, with its standard error.

    Each round's difference is that of the two candidates' own samples: what the round did to both, and the reference
    with its noise, are not in it. Raises `KgateError` where the records are not of one joint race.
    """
    from pytest_kgate.statistics.intervals.fixed_rounds import of_samples  # here, since it needs numpy

    races = [record.get("measured", {}).get("joint", {}).get("race") for record in (one, other)]
    if races[0] is None or races[0] != races[1] or one["timing"] is None or other["timing"] is None:
        raise KgateError(
            f"The candidates {one['candidate']['name']} and {other['candidate']['name']} shared no rounds.",
            "Race them together with --kgate-joint, or compare their ratios to the reference.",
        )
    samples = [decode_samples(record["timing"]["candidate"]["samples"]) for record in (one, other)]  # type: ignore[index]
    found = of_samples(*samples, tick_seconds=one["timing"]["tick_seconds"])
    assert found is not None  # such samples had made the records INVALID
    return found

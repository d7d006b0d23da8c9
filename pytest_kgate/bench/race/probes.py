"""Probes: launches on new values among the timed ones, and the verdict on whether the timed launches did the work.

A check before the race shows that the candidate can compute the answer, not that it does so while it is timed. So some
rounds, which nothing announces, hold launches on new values (`device/probe_rows.py`). Their answers are compared
with the exact ones once the race is over, and their times with those of launches on values seen before.

A latency that is the slope over a row of launches is one only where each launch waits for the one before. Launches may
run at the same time (programmatic dependent launch, work that forks from an earlier call), and the slope is then the
inverse of a throughput. So probed rounds also time the candidate's calls with something between them that all wait for.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from pytest_kgate.bench.seeds import Stream
from pytest_kgate.device.protocol import FirstLook
from pytest_kgate.device.protocol import Probe
from pytest_kgate.integrity.side_effects.memories.new_values import NewValues
from pytest_kgate.integrity.side_effects.memories.new_values import compare
from pytest_kgate.report.format import seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from pytest_kgate.bench.seeds import SeedBook
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import Workload
    from pytest_kgate.integrity.side_effects.streams import Verify
    from pytest_kgate.report.record.facts.timing import ProbesFacts

_EVERY = 4
"""One round of so many in a row is probed, which makes three before the first look."""

_KEPT_BYTES, _KEPT_ON_HOST_BYTES = 2**28, 3 * 2**25
"""Of answers that a race keeps, on a GPU and on the host: of larger ones fewer probes are kept, and one at least. On
the host all lies in one memory; an exact answer to one in 16 bits takes four times its bytes, beside it."""

_KEPT = 4
"""Probes whose answers are kept, chosen at random; each holds two outputs, and to verify it costs exact answers."""

_FEWEST = 3
"""Probes from which an overlap is told: one or two may have met an interrupt."""

_HIDDEN_SECONDS = 1.5e-6
"""What a call may hide behind the one before it: its launch and its set-up, where it is launched early and waits
(`griddepcontrol.wait`) before it touches memory. Launches in a graph follow each other within about a microsecond;
whoever hides clearly more has begun to work on inputs that the call before may still write."""

_HIDDEN = 0.05
"""And this share of its latency, for the noise of a row that is timed once a round."""


_PADDED_SECONDS, _PADDED = 3e-6, 0.1
"""By how much the fixed part of the candidate's rows may be longer than that of the reference's: by so much, and this
share of a latency. In 439 gates on H100 and H200 it was longer by 1.75 us at most where calls take 30 us or less, and
by 5.6 us where they take 460 us."""


def is_probed(book: SeedBook, number: int) -> bool:
    """Whether the round of this number is probed: one of four in a row is."""
    block, place = divmod(number, _EVERY)
    return place == book.seed(Stream.PROBED_ROUND, block) % _EVERY


class Probes:
    """The probes of one race: the times of all, and the answers of a few, chosen at random after they were given."""

    def __init__(self, *, on_host: bool = False) -> None:
        """`on_host`: whether answers that are kept are brought to the host's memory."""
        self._on_host = on_host
        self._kept: list[tuple[int, Probe]] = []
        self._looks: list[tuple[FirstLook, FirstLook]] = []
        self._overlap: list[float] = []

    def add(self, probe: Probe | None) -> None:
        """Add one probe; each has the same chance that its answers are among those kept (reservoir sampling)."""
        if probe is None:
            return
        self._looks.append(probe.first_looks)
        if probe.overlap_seconds is not None:
            self._overlap.append(probe.overlap_seconds)
        most = _most_kept(probe)
        if len(self._kept) < most:
            self._kept.append((len(self._looks) - 1, self._placed(probe)))
            return
        place = secrets.randbelow(len(self._looks))  # no seed tells this lot
        if place < most:
            self._kept[place] = (len(self._looks) - 1, self._placed(probe))

    def _placed(self, probe: Probe) -> Probe:
        if not self._on_host:
            return probe
        from pytest_kgate.problems.trees import tree  # needs PyTorch, which may be missing

        return replace(probe, answers=tuple((seed, tree.mapped(one, _on_host)) for seed, one in probe.answers))

    def new_values(self, candidate: NDArray[np.float64], reference: NDArray[np.float64]) -> NewValues | None:
        """What new values cost the arms, given their samples: latencies in seconds; None where nothing can be told."""
        return compare(self._looks, (candidate, reference))

    @property
    def overlap_seconds(self) -> NDArray[np.float64]:
        """(probes,): seconds of a call that overlap with its neighbours; empty where the timer lets none overlap."""
        return np.array(self._overlap, dtype=np.float64)

    @property
    def kept(self) -> tuple[Probe, ...]:
        """The probes whose answers are to be compared with exact ones."""
        return tuple(probe for _, probe in self._kept)

    def handed_over(self) -> Iterator[tuple[Any, int, Any]]:
        """Each answer that is to be compared with an exact one: what of its inputs stayed, their seed, the answer.

        Each is let go when the next is asked for.
        """
        for place in range(len(self._kept)):
            number, probe = self._kept[place]
            stayed, answers = probe.kept, list(probe.answers)
            self._kept[place] = (number, replace(probe, answers=tuple((seed, None) for seed, _ in answers)))
            del probe
            while answers:
                yield (stayed, *answers.pop(0))

    def to_dict(self) -> ProbesFacts | None:
        """Built-in types, for the record; None where no round was probed."""
        if not self._looks:
            return None
        candidate, reference = (
            float(np.median([look[arm].new_seconds - np.median(look[arm].old_seconds) for look in self._looks]))
            for arm in (0, 1)
        )
        return {
            "rounds": len(self._looks),
            "verified": sum(len(probe.answers) for probe in self.kept),
            "lots": sorted(number for number, _ in self._kept),
            "surprise_seconds": {"candidate": candidate, "reference": reference},
            "hidden_seconds": float(np.median(self._overlap)) if self._overlap else None,
        }


def _most_kept(probe: Probe) -> int:
    """How many probes like this one are kept."""
    from pytest_kgate.problems.trees import tree  # needs PyTorch, which may be missing

    tensors = [tensor for _, answer in probe.answers for tensor in tree.tensors(answer)]
    most = _KEPT_BYTES if any(tensor.is_cuda for tensor in tensors) else _KEPT_ON_HOST_BYTES
    return min(_KEPT, max(1, most // max(1, sum(tensor.nbytes for tensor in tensors))))


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.cpu()


def overlaps(overlap_seconds: NDArray[np.float64], latency_seconds: float) -> str | None:
    """One sentence where the candidate's calls run at the same time as their neighbours; None where they do not.

    A quarter of the probes may be quick: what overlaps does so in every row, but a disturbance hides it now and then.
    """
    if len(overlap_seconds) < _FEWEST or not np.isfinite(latency_seconds):
        return None
    hidden = float(np.quantile(overlap_seconds, 0.25))
    if hidden <= _HIDDEN_SECONDS + _HIDDEN * latency_seconds:
        return None
    return (
        f"the candidate's calls run at the same time: one takes {seconds(latency_seconds + hidden)} where it "
        f"waits for the call before it to end, and {seconds(latency_seconds)} in the rows that were timed, which "
        "then tell how many calls a second there can be, not how long one takes"
    )


def padded(overhead_seconds: NDArray[np.float64], latency_seconds: float) -> str | None:
    """One sentence where the candidate's short rows are longer than its launches make them; None where they are not.

    A latency is what the long row takes beyond the short one, for each launch more. A call that knows which row it is
    in may wait in the short one: the slope is then too low, and the fixed part of the rows too large.

    overhead_seconds: (rounds, 2) the fixed part of the candidate's and the reference's rows.
    """
    found = overhead_seconds[np.isfinite(overhead_seconds).all(axis=1)]
    if len(found) < _FEWEST or not np.isfinite(latency_seconds):
        return None
    candidate, reference = np.median(found, axis=0)
    # No launch takes less than no time: a slow reference's is below 0 where its slope is off by a small share.
    if np.median(found[:, 0] - np.maximum(found[:, 1], 0.0)) <= _PADDED_SECONDS + _PADDED * latency_seconds:
        return None
    return (
        f"the candidate's rows take {seconds(float(candidate))} beside their launches, the reference's "
        f"{seconds(float(reference))}: what is done in a short row only makes the latency, which is the difference to "
        "a long one, read too low"
    )


def work_undone(
    device: Device,
    candidate: Arm,
    probes: Probes,
    samples: tuple[NDArray[np.float64], NDArray[np.float64]],
    seeds: Callable[[int], int],
    compared: Callable[[NewValues], str | None],
    keep: Callable[[int, tuple[Any, ...], Any, Any], None] | None,
    overhead_seconds: NDArray[np.float64],
    workload: Workload,
    verify: Verify,
) -> str | None:
    """One sentence on why the timed launches can't be trusted to have done the work; None where they can.

    Compares the answers of the probed launches with exact ones, and the launches' times with each other. `samples` are
    the candidate's and the reference's, in seconds. `seeds` tells the seed of each further draw. `compared` says why a
    gate would not pass on new values. `keep` is handed each answer before it is compared: its seed, the inputs drawn
    by that, the answer, and what stayed of earlier inputs. `overhead_seconds` are those of the race.
    """
    import torch  # which may be missing, here and below

    from pytest_kgate.integrity.side_effects.wrong_values import why_wrong
    from pytest_kgate.problems.trees import tree

    def drawn(seed: int, stayed: Any) -> tuple[Any, ...]:
        inputs = workload.draw(seed)
        return inputs if stayed is None else tree.with_outside(inputs, stayed, torch.device(device.torch_device))

    with device.running("waiting for all that the candidate has launched"):
        device.synchronize()  # on a stream of its own it may lag behind, and write into the inputs that are drawn next
    for stayed, seed, answer in probes.handed_over():
        with device.running("verifying a timed launch"):
            inputs, answer = workload.draw(seed), tree.mapped(answer, lambda one: one.to(device.torch_device))
            if keep is not None:
                keep(seed, inputs, answer, stayed)
            if stayed is not None:
                inputs = tree.with_outside(inputs, stayed, torch.device(device.torch_device))
        reason = verify(inputs, answer)
        del inputs, answer  # one draw is in memory at a time
        if reason is not None:
            again = functools.partial(drawn, seed, stayed)
            return why_wrong(reason, device, candidate, workload, again, verify, seeds).reason
    new = probes.new_values(*samples)
    remembers = None
    if new is not None and new.dear:
        told = f"{new.text}: it remembers its answers"
        remembers = compared(new) if device.kind == "host" else told
    latency = float(np.median(samples[0]))
    return remembers or overlaps(probes.overlap_seconds, latency) or padded(overhead_seconds, latency)

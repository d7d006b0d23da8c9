"""What a call holds at once, in bytes by purpose: known before the candidate runs. Pure.

The figures are lower bounds: what an allocator, a library's workspaces and the slabs of a comparison take comes besides
(a quarter of a GiB, and with a reference that needs room of its own what was seen of that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_kgate.errors import ProblemError

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.memory import MemoryFacts

_LARGE_BYTES = 2**26
"""Of larger inputs fewer draws are held at once, and of larger outputs one answer of a probe."""

_KEPT_BYTES, _KEPT_ON_HOST_BYTES = 2**28, 3 * 2**25
"""Of answers that a race keeps, beside one, on a GPU and on the host."""

Purposes = Mapping[str, int]


@dataclass(frozen=True)
class Sizes:
    """The sizes of one problem, in bytes."""

    inputs: int
    outputs: int
    exact: int
    """The exact answer, as it is kept."""
    working: int
    """What computing it takes besides, for a piece or as a whole."""
    reference: int
    """What a call of the reference takes besides its inputs and outputs; 0 where that can't be seen."""


@dataclass(frozen=True)
class MemoryPlan:
    """The bytes of each step of a call, with the memory there is."""

    sizes: Sizes
    on_gpu: bool
    writes_output: bool
    """Whether the candidate writes to an output that it is handed."""
    available: int | None
    """Free when the call began; None where the device does not tell."""

    @property
    def check(self) -> Purposes:
        """Bytes by purpose in a draw of the check, when most is held."""
        sizes = self.sizes
        return _largest(
            {"inputs and their copies between guard zones": 2 * sizes.inputs},
            {"inputs": sizes.inputs, "the answer and its copies": (3 if self.writes_output else 2) * sizes.outputs},
            self._compared,
        )

    @property
    def race(self) -> Purposes:
        """Bytes by purpose in a round that is probed."""
        sizes = self.sizes
        draws = (2 if sizes.inputs > _LARGE_BYTES else 3) + self.on_gpu
        return {
            "draws of inputs": draws * sizes.inputs,
            "outputs": (2 if self.on_gpu or self.writes_output else 1) * sizes.outputs,
            "answers kept of this round": self._answers * sizes.outputs,
            _KEPT: self.kept_probes * self._answers * sizes.outputs,
            "the reference": sizes.reference,
        }

    @property
    def verify(self) -> Purposes:
        """Bytes by purpose in the comparison of what timed launches left."""
        left = max(0, self.kept_probes * self._answers - 1)
        return {**self._compared, _KEPT: left * self.sizes.outputs}

    @property
    def watch(self) -> Purposes:
        """Bytes by purpose in the look for remembered answers."""
        draws = 3 if self.sizes.inputs > _LARGE_BYTES else 4
        return {"draws of inputs": draws * self.sizes.inputs, "answers": 3 * self.sizes.outputs}

    @property
    def keeps_answers_on_host(self) -> bool:
        """Whether answers of probes are brought to the host, since the GPU has no room for them beside a round."""
        return self.on_gpu and self.available is not None and sum(self.race.values()) > self.available

    @property
    def kept_probes(self) -> int:
        """How many probes' answers there is room for, of four."""
        held = max(1, self._answers * self.sizes.outputs)
        return min(4, max(1, (_KEPT_BYTES if self.on_gpu else _KEPT_ON_HOST_BYTES) // held))

    def demand_room(self, name: str, *, races: bool) -> None:
        """Raise `ProblemError` where a step needs more than there is, whatever comfort is given up.

        Of a GPU, exact answers and those of probes may lie in the host's memory instead.
        """
        if self.available is None:
            return
        steps = {"check": self.check}
        if races:
            steps |= {"race": self.race, "verification of timed launches": self.verify, "look for memories": self.watch}
        if self.on_gpu:
            steps = {step: _on_gpu_at_least(purposes) for step, purposes in steps.items()}
        step, purposes = max(steps.items(), key=lambda one: sum(one[1].values()))
        needed = sum(purposes.values())
        if needed <= self.available:
            return
        parts = ", ".join(f"{_size(held)} for {purpose}" for purpose, held in purposes.items() if held)
        both = self.sizes.inputs + self.sizes.outputs
        fits = int(both * self.available / needed)
        raise ProblemError(
            f"The {step} of {name} needs {_size(needed)} of memory ({parts}), and {_size(self.available)} of the "
            f"{'GPU' if self.on_gpu else 'host'} are free.",
            f"Use a smaller shape: inputs and outputs of {_size(fits)} together have room here, and these are "
            f"{_size(both)}.",
        )

    def to_dict(self, given_up: list[str]) -> MemoryFacts:
        """Built-in types, for the record."""
        steps = {"check": self.check, "race": self.race, "verify": self.verify, "watch": self.watch}
        return {
            "inputs_bytes": self.sizes.inputs,
            "outputs_bytes": self.sizes.outputs,
            "exact_bytes": self.sizes.exact,
            "reference_bytes": self.sizes.reference,
            "available_bytes": self.available,
            "needed_bytes": {step: sum(purposes.values()) for step, purposes in steps.items()},
            "given_up": list(given_up),
        }

    @property
    def _answers(self) -> int:
        """Answers that are kept of a probe."""
        return 1 if self.sizes.outputs > _LARGE_BYTES else 2

    @property
    def _compared(self) -> Purposes:
        sizes = self.sizes
        beside = max(sizes.working, sizes.outputs + sizes.reference)
        return {"inputs": sizes.inputs, "the answer": sizes.outputs, _EXACT: sizes.exact, "the reference": beside}


_EXACT = "the exact answer"
_KEPT = "answers kept of other rounds"


def _on_gpu_at_least(purposes: Purposes) -> Purposes:
    return {purpose: held for purpose, held in purposes.items() if purpose not in (_EXACT, _KEPT)}


def _largest(*steps: Purposes) -> Purposes:
    return max(steps, key=lambda one: sum(one.values()))


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"

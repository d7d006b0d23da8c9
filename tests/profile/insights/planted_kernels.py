"""Kernels whose bottleneck is known, since each was written to have just that one, and the finding that names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kgate.report.record.facts.counters import ArmCounters

HERE = Path(__file__).parent

_LARGE = 1 << 25
"""Numbers of an array that no cache holds: 128 MiB."""

_SMALL = 1 << 20


@dataclass(frozen=True)
class Planted:
    """One file, with one kernel."""

    folder: str
    name: str
    """Of the file; the kernel in it is `planted_` and this."""
    finding: str
    """What must be found first."""
    elements: int = _SMALL
    """Floats of the input, and of the output."""
    needed_bytes: float | None = None
    """That the answer needs to read and write; None where memory is not what the kernel is about."""
    on_h200: str = ""
    """What is found first on an H200, where that differs: its memory is 1.4 times as fast as that of an H100."""

    def expected_on(self, gpu: str) -> str:
        """What must be found first on the GPU of this name."""
        return self.on_h200 if self.on_h200 and "H200" in gpu else self.finding

    @property
    def path(self) -> Path:
        return HERE / self.folder / f"{self.name}.cu"


# The rows of a table, of one shape: whatever is planted, the same few tests compile, count and look at all of it.
PLANTED = (
    Planted("planted", "copy", "memory-bound", _LARGE, 8.0 * _LARGE),
    Planted("planted", "tensor_loop", "tensor-bound"),
    Planted("planted", "exp_loop", "exp-bound"),
    Planted("planted", "fma_loop", "fp32-bound"),
    Planted("planted", "l2_loop", "l2-bound", _LARGE),
    Planted("planted", "one_block", "small-grid", _SMALL, 8.0 * _SMALL),
    Planted("planted", "one_block_more", "tail-effect"),
    Planted("planted", "registers_255", "occupancy-registers", _LARGE),
    Planted("planted", "shared_96k", "occupancy-shared", _LARGE),
    Planted("planted", "one_warp_blocks", "occupancy-blocks", _LARGE),
    Planted("planted", "pointer_chase", "latency-bound", _LARGE),
    Planted("planted", "spilling", "spills"),
    Planted("planted", "bank_conflict", "bank-conflicts"),
    Planted("planted", "stride_32", "uncoalesced", 4 * _LARGE, 8.0 * 4 * _LARGE / 32),
    Planted("planted", "read_twice", "excess-bytes", _LARGE, 4.0 * _LARGE),
    Planted("planted", "tiny_kernels", "launch-overhead"),
    # Written after the rules. One was a tie, for which a number that goes into a rule was corrected afterwards.
    Planted("planted_again", "scale_and_add", "memory-bound", _LARGE, 6.0 * _LARGE, on_h200="l2-bound"),
    Planted("planted_again", "wmma_product", "tensor-bound"),
    Planted("planted_again", "sigmoid_loop", "exp-bound"),
    Planted("planted_again", "polynomial", "fp32-bound", _LARGE, 8.0 * _LARGE),
    Planted("planted_again", "shared_table", "l2-bound", _LARGE),
    Planted("planted_again", "twenty_blocks", "small-grid"),
    Planted("planted_again", "short_last_wave", "tail-effect", _LARGE),
    Planted("planted_again", "registers_168", "occupancy-registers", _LARGE),
    Planted("planted_again", "shared_200k", "occupancy-shared", _LARGE),
    Planted("planted_again", "small_blocks", "occupancy-blocks", _LARGE),
    Planted("planted_again", "serial_part", "latency-bound"),
    Planted("planted_again", "indexed_array", "spills"),
    Planted("planted_again", "transposition", "bank-conflicts"),
    Planted("planted_again", "gather", "uncoalesced", 4 * _LARGE, 8.0 * 4 * _LARGE / 16),
    Planted("planted_again", "three_passes", "excess-bytes", _LARGE, 8.0 * _LARGE),
    Planted("planted_again", "eight_steps", "launch-overhead"),
    # Written after that, one for every rule that looks at a kernel; no rule was changed since.
    Planted("planted_third", "row_sums", "memory-bound", _LARGE, 4.0 * _LARGE),
    Planted("planted_third", "tf32_chains", "tensor-bound"),
    Planted("planted_third", "sines", "exp-bound"),
    Planted("planted_third", "rotations", "fp32-bound"),
    Planted("planted_third", "shared_sums", "l2-bound"),
    Planted("planted_third", "table_in_l1", "l1-bound"),
    Planted("planted_third", "sixty_four_blocks", "small-grid", _LARGE),
    Planted("planted_third", "quarter_wave", "tail-effect"),
    Planted("planted_third", "outer_product", "occupancy-registers", _LARGE),
    Planted("planted_third", "shared_48k", "occupancy-shared", _LARGE),
    Planted("planted_third", "half_warps", "occupancy-blocks", _LARGE),
    Planted("planted_third", "early_exit", "occupancy-bound", _LARGE),
    Planted("planted_third", "turns", "latency-bound"),
    Planted("planted_third", "crowded_sums", "spills"),
    Planted("planted_third", "own_rows", "bank-conflicts"),
    Planted("planted_third", "one_field", "uncoalesced", 4 * _LARGE, 8.0 * 4 * _LARGE / 16),
    Planted("planted_third", "two_launches", "excess-bytes", _LARGE, 8.0 * _LARGE),
    Planted("planted_third", "ten_layers", "launch-overhead"),
    Planted("planted_third", "mixed_work", "balanced", _LARGE),
)


def profiled(planted: Planted, arm: ArmCounters) -> Any:
    """As much of a record as the rules look at."""
    return {
        "candidate": {"name": planted.name, "implementation": None, "knobs": {}, "resources": []},
        "problem": {"name": planted.name, "bytes": planted.needed_bytes, "flops": None},
        "timing": None,
        "environment": {},
        "counters": {"candidate": arm},
    }

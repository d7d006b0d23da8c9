"""Rules about the launch: how many launches, how many blocks, what holds the clock down."""

from __future__ import annotations

import math

from pytest_kgate.profile.insights.rule import BOUNDS
from pytest_kgate.profile.insights.rule import Numbers
from pytest_kgate.profile.insights.rule import Rule

EMPTY_LAUNCH = 2e-6
"""Seconds. What a launch of hardly any work takes under Nsight Compute on an H100."""

_FEW_WAVES = 8
"""With more waves, blocks of unequal length fill the end of a launch."""

_SYMPTOMS = (
    *("occupancy-registers", "occupancy-shared", "occupancy-blocks", "occupancy-bound", "latency-bound"),
    *BOUNDS,
)
"""A GPU of which a part has nothing to do is told of first, whatever is busy in the others."""


def _of_launches(n: Numbers) -> float:
    """All launches but one could be saved."""
    return min(1.0, (n["launches"] - 1) * EMPTY_LAUNCH / n["duration"]) if n["duration"] > 0 else 0.0


def _of_small_grid(n: Numbers) -> float:
    """SMs without a block; or, where all have one, the warps that are missing on SMs which wait for something."""
    if n["waves"] >= 1:
        return 0.0
    blocks_per_launch = n["blocks"] / n["launches"]
    empty = max(0.0, 1 - blocks_per_launch / n["sm_count"])
    return max(empty, (1 - n["busiest"] / 100) * (1 - n["waves"]) * (1 - n["issue"] / 100))


def _of_tail(n: Numbers) -> float:
    """The part of the last wave that is empty, as far as SMs were seen to be empty."""
    waves = n["waves"]
    if not 1 < waves < _FEW_WAVES:
        return 0.0
    return min(1 - waves / math.ceil(waves), 1 - n["sm_resident"] / 100)


RULES = (
    Rule(
        name="launch-overhead",
        condition="several launches a call, each hardly longer than an empty one",
        needs=("launches", "duration"),
        share=_of_launches,
        finding="One call makes {launches:.0f} launches, which take {duration_us:.1f} us together under the profiler; "
        "an empty launch takes about 2 us.",
        confidence="likely",
        advice="Fuse the kernels, or let one launch do the work of several.",
        explains=("small-grid", "tail-effect", *_SYMPTOMS),
        source="an empty kernel of an H100 under Nsight Compute",
    ),
    Rule(
        name="small-grid",
        condition="less than one wave: SMs without a block, or with fewer warps than they could hold while they wait",
        needs=("waves", "blocks", "sm_count", "launches", "busiest", "issue"),
        share=_of_small_grid,
        finding="The grid is {waves:.2g} of a wave (blocks: {blocks_a_launch:.0f}, multiprocessors: {sm_count:.0f}): "
        "some have no block, or fewer warps than they could hold.",
        confidence="sure",
        advice="Make more blocks: smaller tiles, or the reduction (keys, K) split between blocks.",
        knobs=("BLOCK_M", "SPLIT_KV", "CLUSTER"),
        explains=_SYMPTOMS,
        source="Nsight Compute's rule LaunchConfiguration: fewer blocks than multiprocessors",
    ),
    Rule(
        name="tail-effect",
        condition="between one and eight waves, the last of them not full, and SMs seen empty",
        needs=("waves", "sm_resident"),
        share=_of_tail,
        finding="The grid is {waves:.2f} waves, so that the last one fills only a part of the multiprocessors: they "
        "had work in {sm_resident:.0f} % of their cycles.",
        confidence="likely",
        advice="Let the number of blocks be a multiple of what runs at once: another tile size, or blocks that stay "
        "and take tile after tile.",
        knobs=("BLOCK_M", "BLOCK_N"),
        explains=_SYMPTOMS,
        source="Nsight Compute's rule TailEffect in the section Occupancy",
    ),
    Rule(
        name="power-limited",
        condition="the GPU reported its power cap during the race, and the clock was below the highest",
        needs=("power_capped", "clock_loss"),
        share=lambda n: n["power_capped"] * n["clock_loss"] / 100,
        finding="The power cap held the SM clock {clock_loss:.0f} % below the highest during the race.",
        confidence="sure",
        advice="Move fewer bytes and issue fewer instructions for the same answer: only saved energy makes it faster. "
        "Ratios hold at this clock.",
        source="NVML's clocks event reasons",
    ),
    Rule(
        name="clock-limited",
        condition="the GPU reported heat or a hardware slowdown during the race, and the clock was below the highest",
        needs=("heat_capped", "clock_loss"),
        share=lambda n: n["heat_capped"] * n["clock_loss"] / 100,
        finding="Heat or a hardware slowdown held the SM clock {clock_loss:.0f} % below the highest during the race.",
        confidence="sure",
        advice="Let the GPU cool, or lock a clock that it can hold: `nvidia-smi --lock-gpu-clocks`.",
        source="NVML's clocks event reasons",
    ),
)

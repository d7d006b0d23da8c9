"""Metrics of the launch: how many warps there are, what limits them, and what they wait for."""

from __future__ import annotations

from pytest_kgate.profile.nsight.metrics.metric import ARCHITECTURES
from pytest_kgate.profile.nsight.metrics.metric import Metric


def _limit(what: str, meaning: str) -> Metric:
    return Metric(f"limit_{what}", "blocks", (f"launch__occupancy_limit_{what}",), meaning, "min")


OCCUPANCY = (
    Metric(
        "warps",
        "%",
        ("sm__warps_active.avg.pct_of_peak_sustained_active",),
        "Occupancy: warps that were resident while an SM had any, in percent of the most that it holds.",
        "mean",
        "sm_active_cycles",
    ),
    Metric(
        "warps_elapsed",
        "%",
        ("sm__warps_active.avg.pct_of_peak_sustained_elapsed",),
        "The same over the whole launch and all SMs.",
        "mean",
        "sm_cycles",
    ),
    Metric(
        "warps_possible",
        "%",
        ("sm__maximum_warps_per_active_cycle_pct",),
        "Occupancy that registers, shared memory and the block's size leave possible.",
        "mean",
        "sm_active_cycles",
    ),
    Metric(
        "eligible",
        "warps",
        ("smsp__warps_eligible.avg.per_cycle_active",),
        "Warps of a scheduler that could issue in a cycle; below 1 there is often none.",
        "mean",
        "sm_active_cycles",
    ),
    _limit("blocks", "Blocks that an SM takes at most."),
    _limit("registers", "Blocks of an SM for which there are registers."),
    _limit("shared_mem", "Blocks of an SM for which there is shared memory."),
    _limit("warps", "Blocks of an SM for which there are warps."),
)

LAUNCH = (
    Metric(
        "waves",
        "waves",
        ("launch__waves_per_multiprocessor",),
        "The grid over the blocks that all SMs hold at once; below 1 there is room left on the SMs.",
        "mean",
        "duration",
    ),
    Metric("blocks", "blocks", ("launch__grid_size",), "Blocks of the grid."),
    Metric("threads_per_block", "threads", ("launch__block_size",), "Threads of a block.", "max"),
    Metric("registers", "registers", ("launch__registers_per_thread",), "Registers of a thread.", "max"),
    Metric(
        "shared_per_block",
        "bytes",
        ("launch__shared_mem_per_block",),
        "Shared memory of a block: static, dynamic, and the driver's own.",
        "max",
    ),
    Metric("sm_count", "SMs", ("launch__sm_count",), "Multiprocessors that the launch could use.", "max"),
)

_STALLS = {
    "long_scoreboard": "a load from global or local memory, or a texture",
    "short_scoreboard": "shared memory, or the pipe of exponentials",
    "wait": "a fixed latency of an instruction before",
    "math_pipe_throttle": "a pipe that is busy",
    "mio_throttle": "room in the queue of shared memory and special functions",
    "lg_throttle": "room in the queue of global and local memory",
    "tex_throttle": "room in the queue of textures",
    "barrier": "other warps at a barrier of the block",
    "membar": "a memory fence",
    "gmma": "an earlier `wgmma` (`warpgroup.arrive`)",
    "no_instruction": "instructions to be fetched, or a jump",
    "branch_resolving": "the target of a branch",
    "imc_miss": "a constant that was not in its cache",
    "dispatch_stall": "the dispatcher",
    "drain": "stores to end before it exits",
    "sleeping": "the end of a `nanosleep`",
    "misc": "other reasons of the hardware",
    "not_selected": "its turn: another warp was chosen, there are more than enough",
    "selected": "nothing: it issued",
}
"""Nsight Compute's word for the reason -> what the warp waits for."""

_ONLY_ON = {"gmma": ("sm_90",), "imc_miss": ("sm_80", "sm_86", "sm_89", "sm_90")}


def _stall(reason: str, what: str) -> Metric:
    return Metric(
        f"stall_{reason}",
        "cycles",
        (f"smsp__average_warps_issue_stalled_{reason}_per_issue_active.ratio",),
        f"Part of `warp_latency` in which a warp waits for {what}.",
        "mean",
        "instructions",
        elsewhere={one: () for one in ARCHITECTURES if one not in _ONLY_ON.get(reason, ARCHITECTURES)},
    )


BARRIERS = (
    Metric(
        "barrier_instructions",
        "instructions",
        ("sass__inst_executed_per_opcode[BAR]",),
        "Barriers of a block (`__syncthreads`), once for each warp that comes to one.",
    ),
    Metric("warps_launched", "warps", ("smsp__warps_launched.sum",), "Warps of the grid."),
    Metric(
        "barriers",
        "barriers",
        (),
        "Barriers of the block that a warp comes to from its start to its end.",
        ratio=("barrier_instructions", "warps_launched"),
    ),
)

STALLS = (
    Metric(
        "warp_latency",
        "cycles",
        ("smsp__average_warp_latency_per_inst_issued.ratio",),
        "Cycles from one instruction of a warp to its next.",
        "mean",
        "instructions",
    ),
    *(_stall(reason, what) for reason, what in _STALLS.items()),
)

"""Rules about warps: too few of them, what limits them, and that nothing is busy because all of them wait."""

from __future__ import annotations

from pytest_kgate.profile.insights.rule import Numbers
from pytest_kgate.profile.insights.rule import Rule

_LOW_OCCUPANCY = 50
"""Percent. With half of the warps, an SM hides latencies nearly as well as with all (Volkov, GTC 2010)."""

_FEW_WARPS = 30
"""Percent: the usual rule of thumb for "occupancy-bound"."""

_IDLE_UNITS = 60
"""Percent. Nsight Compute's SpeedOfLight rule calls a kernel latency-bound where neither memory nor SMs are busier."""

_SELDOM = 60
"""Percent of the cycles in which a scheduler issued."""


def _waiting(n: Numbers) -> float:
    """The part of the time in which nothing is busy: neither a unit nor the schedulers."""
    return 1 - max(n["busiest"], n["issue"]) / 100


def _missing_warps(n: Numbers) -> float:
    return 1 - n["warps_possible"] / 100


def _limited_by(what: str, n: Numbers) -> float:
    low = n["warps_possible"] <= _LOW_OCCUPANCY and n["waves"] >= 1
    return n[f"occupancy_limit_{what}"] * low * _waiting(n) * _missing_warps(n)


_NEEDS = ("warps_possible", "busiest", "issue", "waves")
_EXPLAINS = ("occupancy-bound", "latency-bound")

RULES = (
    Rule(
        name="occupancy-registers",
        condition="registers allow at most half of the warps, and the schedulers have little to issue",
        needs=("registers", "occupancy_limit_registers", *_NEEDS),
        share=lambda n: _limited_by("registers", n),
        finding="{registers:.0f} registers a thread leave room for {warps_possible:.0f} % of the warps, and the "
        "schedulers issue in {issue:.0f} % of their cycles.",
        confidence="likely",
        advice="Let a thread hold less: smaller tiles or more warps a tile; or load further ahead, so that fewer warps "
        "hide the latency.",
        knobs=("BLOCK_M", "BLOCK_N", "NUM_WARPS", "STAGES"),
        explains=_EXPLAINS,
        source="Nsight Compute's rule TheoreticalOccupancy",
    ),
    Rule(
        name="occupancy-shared",
        condition="shared memory allows at most half of the warps, and the schedulers have little to issue",
        needs=("shared_per_block", "occupancy_limit_shared_mem", *_NEEDS),
        share=lambda n: _limited_by("shared_mem", n),
        finding="{shared_kib:.0f} KiB of shared memory a block leave room for {warps_possible:.0f} % of the warps, and "
        "the schedulers issue in {issue:.0f} % of their cycles.",
        confidence="likely",
        advice="Take less shared memory a block (fewer stages, smaller tiles), or more warps that work on it.",
        knobs=("STAGES", "BLOCK_N", "NUM_WARPS", "PAD"),
        explains=_EXPLAINS,
        source="Nsight Compute's rule TheoreticalOccupancy",
    ),
    Rule(
        name="occupancy-blocks",
        condition="blocks are so small that as many as a multiprocessor takes have at most half of the warps, and the "
        "schedulers have little to issue",
        needs=("threads_per_block", "occupancy_limit_blocks", *_NEEDS),
        share=lambda n: _limited_by("blocks", n),
        finding="Blocks of {threads_per_block:.0f} threads leave room for {warps_possible:.0f} % of the warps, and the "
        "schedulers issue in {issue:.0f} % of their cycles.",
        confidence="likely",
        advice="Make larger blocks: two or four of today's in one.",
        knobs=("NUM_WARPS", "BLOCK_M"),
        explains=_EXPLAINS,
        source="Nsight Compute's rule TheoreticalOccupancy",
    ),
    Rule(
        name="occupancy-bound",
        condition="below 30 % of the warps that an SM can hold, and the schedulers have little to issue",
        needs=("warps", "busiest", "issue"),
        share=lambda n: _waiting(n) * (1 - n["warps"] / 100) if n["warps"] < _FEW_WARPS else 0.0,
        finding="{warps:.0f} % of the warps that a multiprocessor can hold were there, too few to hide latencies.",
        confidence="likely",
        advice="Make more warps: more blocks, more warps a block, less of what limits how many fit.",
        knobs=("NUM_WARPS", "BLOCK_M"),
        explains=("latency-bound",),
        source="one of the usual four rules",
    ),
    Rule(
        name="latency-bound",
        condition="no unit is above 60 %, and the schedulers issue in less than 60 % of their cycles",
        needs=("busiest", "issue", "warps"),
        share=lambda n: _waiting(n) if n["busiest"] < _IDLE_UNITS and n["issue"] < _SELDOM else 0.0,
        finding="Warps wait: the schedulers issue in {issue:.0f} % of their cycles, and no unit is more than "
        "{busiest:.0f} % busy.",
        confidence="likely",
        advice="Start loads earlier (more stages, asynchronous copies), do independent work meanwhile, take out "
        "barriers.",
        knobs=("STAGES", "NUM_PRODUCER_WARPS", "NUM_WARPS"),
        source="Nsight Compute's rule SOLBottleneck: latency where compute and memory are below 60 %",
    ),
)

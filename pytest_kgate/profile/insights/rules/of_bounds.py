"""Rules about which unit is the busiest: what a kernel without other faults is bound by."""

from __future__ import annotations

from pytest_kgate.profile.insights.rule import BOUNDS
from pytest_kgate.profile.insights.rule import Numbers
from pytest_kgate.profile.insights.rule import Rule

_TENSOR = 50
_DRAM = 70
_WARPS = 30
"""Percent: the usual rules of thumb."""

_UNIT = 60
"""Percent of its peak from which a unit is what limits. Nsight Compute's SpeedOfLight rule takes the same."""


def _when(name: str, least: float, n: Numbers) -> float:
    return n[name] / 100 if n[name] > least else 0.0


def _balanced(n: Numbers) -> float:
    bound = n["tensor"] > _TENSOR or n["dram"] > _DRAM or n["warps"] < _WARPS
    return 0.0 if bound else 1 - n["busiest"] / 100


_AT_THE_ROOFLINE = 80
"""Percent of what the device attains. Kernels that vendors have tuned for years come to between 80 and 100 %."""

# The rows of a table: of one shape on purpose, since all rules are read, told and documented by one piece of code.
RULES = (
    Rule(
        name="at-the-roofline",
        condition="80 % of what the device attains on the problem's FLOPs and bytes; known once `kgate roofline` "
        "or a `speed_of_light` marker has measured that",
        needs=("roofline",),
        share=lambda n: _when("roofline", _AT_THE_ROOFLINE, n),
        finding="It reaches {roofline:.0f} % of what this device attains on the problem's FLOPs and bytes.",
        confidence="sure",
        advice="There is little left for this problem: change what is asked (fuse it with its neighbours, a narrower "
        "type, fewer operations).",
        explains=BOUNDS,
        source="the rates of `kgate roofline`",
    ),
    Rule(
        name="tensor-bound",
        condition="tensor cores above 50 % of their peak",
        needs=("tensor",),
        share=lambda n: _when("tensor", _TENSOR, n),
        finding="The tensor cores are {tensor:.0f} % busy: it is compute-bound.",
        confidence="sure",
        advice="Do fewer products (skip masked tiles), or products of a narrower type; on Hopper, wgmma instead of "
        "mma.sync.",
        knobs=("BLOCK_M", "BLOCK_N"),
        source="one of the usual four rules",
    ),
    Rule(
        name="exp-bound",
        condition="the pipe of exponentials, reciprocals and conversions (XU) above 60 % of its peak",
        needs=("xu",),
        share=lambda n: _when("xu", _UNIT, n),
        finding="The pipe of exponentials and conversions is {xu:.0f} % busy.",
        confidence="sure",
        advice="Compute fewer exponentials, some of them as polynomials on the FMA pipe, or two at once in 16 bits; "
        "convert less.",
        knobs=("USE_FAST_EXP",),
        source="Nsight Compute's rule HighPipeUtilization",
    ),
    Rule(
        name="fp32-bound",
        condition="the pipe of float32 multiply-adds (FMA) above 60 % of its peak",
        needs=("fma",),
        share=lambda n: _when("fma", _UNIT, n),
        finding="The pipe of float32 multiply-adds is {fma:.0f} % busy.",
        confidence="sure",
        advice="Move products to the tensor cores, work on pairs of 16-bit numbers, take constant factors out of "
        "loops.",
        source="Nsight Compute's rule HighPipeUtilization",
    ),
    Rule(
        name="memory-bound",
        condition="device memory above 70 % of its peak",
        needs=("dram",),
        share=lambda n: _when("dram", _DRAM, n),
        finding="Device memory is {dram:.0f} % busy.",
        confidence="sure",
        advice="Move fewer bytes: fuse with the operators before and after, or store narrower types. Faster "
        "arithmetic won't help.",
        explains=("l2-bound", "l1-bound"),
        source="one of the usual four rules",
    ),
    Rule(
        name="l2-bound",
        condition="the second-level cache above 60 % of its peak",
        needs=("l2", "l2_hit"),
        share=lambda n: _when("l2", _UNIT, n),
        finding="The second-level cache is {l2:.0f} % busy, at a hit rate of {l2_hit:.0f} %.",
        confidence="sure",
        advice="Read less from it: larger tiles, data kept in shared memory, one load for a cluster of blocks "
        "(multicast).",
        knobs=("BLOCK_M", "BLOCK_N", "CLUSTER"),
        source="Nsight Compute's SpeedOfLight rule",
    ),
    Rule(
        name="l1-bound",
        condition="the first-level cache and shared memory above 60 % of their peak",
        needs=("l1", "shared"),
        share=lambda n: _when("l1", _UNIT, n),
        finding="The first-level cache and shared memory are {l1:.0f} % busy; shared memory alone {shared:.0f} %.",
        confidence="sure",
        advice="Keep more in registers, load 16 bytes at once (ldmatrix, float4), let each value that was loaded be "
        "used more often.",
        knobs=("BLOCK_M", "BLOCK_N", "NUM_WARPS"),
        source="Nsight Compute's SpeedOfLight rule",
    ),
    Rule(
        name="balanced",
        condition="no other rule holds: tensor cores at most 50 %, device memory at most 70 %, 30 % of the warps",
        needs=("tensor", "dram", "warps", "busiest"),
        share=_balanced,
        finding="Nothing stands out: tensor cores {tensor:.0f} %, device memory {dram:.0f} %, warps {warps:.0f} %.",
        confidence="maybe",
        advice="Let loads, products and exponentials run at the same time: warp specialisation, or more stages.",
        knobs=("NUM_PRODUCER_WARPS", "STAGES"),
        alone=True,
        source="one of the usual four rules",
    ),
)

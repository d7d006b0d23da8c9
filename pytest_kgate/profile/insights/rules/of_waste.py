"""Rules about work that the answer does not need: spills, bank conflicts, uncoalesced access, bytes read twice."""

from __future__ import annotations

from pytest_kgate.profile.insights.rule import BOUNDS
from pytest_kgate.profile.insights.rule import Numbers
from pytest_kgate.profile.insights.rule import Rule

_SYMPTOMS = ("occupancy-bound", "latency-bound", "at-the-roofline", *BOUNDS)
"""Work that the answer does not need is told of first, whatever it keeps busy."""

_MORE_THAN_NEEDED = 1.2
"""Times the problem's bytes: what is read at tile borders and evicted by chance stays below."""


def _of_local_memory(n: Numbers) -> float:
    return n["local_share"] / 100 * max(n["l1"], n["l2"], n["dram"], n["lsu"]) / 100


_SECTOR = 32
"""Bytes."""


def _of_uncoalesced(n: Numbers) -> float:
    """The wasted part of the loads, times what keeps busy that the loads are a part of.

    A kernel that copies its tiles by the tensor memory accelerator has few loads besides, whatever those waste. Of the
    sectors that the second-level cache looks up for loads half are those that device memory sends it.
    """
    of_l1 = min(1.0, n["load_sectors"] * _SECTOR / n["l1_bytes"])
    of_l2 = min(1.0, 2 * n["load_sectors"] / n["l2_sectors"])
    return (1 - n["load_efficiency"] / 100) * max(of_l1 * n["l1"], of_l2 * n["l2"], of_l2 * n["dram"]) / 100


def _of_excess(n: Numbers) -> float:
    factor = n["dram_bytes"] / n["needed_bytes"]
    return (1 - 1 / factor) * n["dram"] / 100 if factor > _MORE_THAN_NEEDED else 0.0


RULES = (
    Rule(
        name="spills",
        condition="local memory is a part of what the first-level cache is asked for",
        needs=("local_memory", "local_share", "l1", "l2", "dram", "lsu"),
        share=_of_local_memory,
        finding="{local_mib:.3g} MiB go to and from local memory (spilled registers, arrays indexed at run time), "
        "{local_share:.0f} % of the first-level cache's traffic.",
        confidence="likely",
        advice="Let a thread hold less: smaller tiles, more threads a tile, or a launch bound that leaves more "
        "registers.",
        knobs=("BLOCK_M", "BLOCK_N", "NUM_WARPS"),
        explains=("excess-bytes", "uncoalesced", *_SYMPTOMS),
        source="CUDA best practices guide, local memory",
    ),
    Rule(
        name="bank-conflicts",
        condition="passes over shared memory repeated because threads of a warp met in a bank",
        needs=("conflict_share", "shared"),
        share=lambda n: n["conflict_share"] / 100 * n["shared"] / 100,
        finding="{conflict_share:.0f} % of the passes over shared memory are bank conflicts, and it is {shared:.0f} % "
        "busy.",
        confidence="sure",
        advice="Pad the rows of the tiles, or swizzle their columns.",
        knobs=("PAD",),
        explains=_SYMPTOMS,
        source="Nsight Compute's rule SharedMemoryConflicts",
    ),
    Rule(
        name="uncoalesced",
        condition="threads use a part of the bytes of the 32-byte sectors that their loads fetch, and such loads are "
        "much of the traffic",
        needs=("load_efficiency", "sectors_per_load", "load_sectors", "l1_bytes", "l2_sectors", "l1", "l2", "dram"),
        share=_of_uncoalesced,
        finding="Loads use {load_efficiency:.0f} % of the bytes of the sectors that they fetch, and touch "
        "{sectors_per_load:.1f} sectors each.",
        confidence="sure",
        advice="Let neighbouring threads read neighbouring addresses, or fetch whole rows into shared memory first.",
        explains=("excess-bytes", *_SYMPTOMS),
        source="Nsight Compute's rule UncoalescedGlobalAccess",
    ),
    Rule(
        name="excess-bytes",
        condition="more than 1.2 times the problem's bytes crossed device memory",
        needs=("dram_bytes", "needed_bytes", "dram"),
        share=_of_excess,
        finding="{dram_mib:.3g} MiB crossed device memory, and the problem needs {needed_mib:.3g} MiB "
        "({excess_factor:.2f} times).",
        confidence="sure",
        advice="Read inputs once: larger tiles, an order of blocks in which neighbours share what the second-level "
        "cache holds, intermediate results that stay on the chip.",
        knobs=("BLOCK_M", "BLOCK_N", "KEPT_KEYS"),
        explains=_SYMPTOMS,
        source="the bytes that the Problem states",
    ),
)

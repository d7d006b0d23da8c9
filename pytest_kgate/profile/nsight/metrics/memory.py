"""Metrics of memory: device memory, the second-level cache, the first-level one, shared and local memory."""

from __future__ import annotations

from pytest_kgate.profile.nsight.metrics.metric import Metric

_GLOBAL = "pipe_lsu_mem_global_op"
_ASKED = "smsp__sass_data_bytes_mem_global_op"
_LOCAL = "l1tex__t_bytes_pipe_lsu_mem_local_op"

DEVICE_MEMORY = (
    Metric(
        "dram",
        "%",
        ("gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",),
        "Device memory, in percent of its peak; with a bound in bytes or `x` it is `dram_bytes`.",
        "mean",
        "duration",
        bytes_name="dram_bytes",
    ),
    Metric(
        "dram_bytes",
        "bytes",
        ("dram__bytes_read.sum", "dram__bytes_write.sum"),
        "Bytes that crossed device memory: `dram_read` and `dram_write`.",
        elsewhere={"sm_120": ("dram__bytes_op_read.sum", "dram__bytes_op_write.sum")},
    ),
    Metric(
        "dram_read",
        "bytes",
        ("dram__bytes_read.sum",),
        "Bytes read from device memory.",
        elsewhere={"sm_120": ("dram__bytes_op_read.sum",)},
    ),
    Metric(
        "dram_write",
        "bytes",
        ("dram__bytes_write.sum",),
        "Bytes written to device memory before the launch ended; the rest is still in the second-level cache.",
        elsewhere={"sm_120": ("dram__bytes_op_write.sum",)},
    ),
    Metric(
        "memory",
        "%",
        ("gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",),
        "The busiest part of the path to memory, whichever it is, in percent of its peak.",
        "mean",
        "duration",
    ),
)

CACHES = (
    Metric(
        "l2",
        "%",
        ("lts__throughput.avg.pct_of_peak_sustained_elapsed",),
        "The second-level cache, in percent of its peak; with a bound in bytes or `x` it is `l2_bytes`.",
        "mean",
        "duration",
        bytes_name="l2_bytes",
    ),
    Metric("l2_bytes", "bytes", ("lts__t_bytes.sum",), "Bytes asked of the second-level cache."),
    Metric("l2_sectors", "sectors", ("lts__t_sectors.sum",), "32-byte sectors that the second-level cache looked up."),
    Metric(
        "l2_hit",
        "%",
        ("lts__t_sector_hit_rate.pct",),
        "Share of the second-level cache's sectors that were there.",
        "mean",
        "l2_sectors",
    ),
    Metric(
        "l1",
        "%",
        ("l1tex__throughput.avg.pct_of_peak_sustained_elapsed",),
        "The first-level cache and shared memory, in percent of their peak.",
        "mean",
        "sm_cycles",
    ),
    Metric("l1_bytes", "bytes", ("l1tex__t_bytes.sum",), "Bytes asked of the first-level cache."),
    Metric(
        "l1_hit",
        "%",
        ("l1tex__t_sector_hit_rate.pct",),
        "Share of the first-level cache's sectors that were there.",
        "mean",
        "l1_bytes",
    ),
)

_OF_A_SECTOR = 100 / 32
"""Percent of a sector's bytes that one byte is."""

GLOBAL_ACCESS = (
    Metric(
        "load_requests",
        "requests",
        (f"l1tex__t_requests_{_GLOBAL}_ld.sum",),
        "Loads of warps from global memory, `cp.async` among them; those of TMA are not.",
    ),
    Metric("load_sectors", "sectors", (f"l1tex__t_sectors_{_GLOBAL}_ld.sum",), "32-byte sectors that they touch."),
    Metric(
        "load_bytes",
        "bytes",
        (f"{_ASKED}_ld.sum", f"{_ASKED}_ldgsts.sum"),
        "Bytes that threads ask for in these loads.",
    ),
    Metric(
        "sectors_per_load",
        "sectors",
        (),
        "Sectors of a warp's load: 4 where neighbours read neighbouring floats, 16 for float4, 32 where all are apart.",
        ratio=("load_sectors", "load_requests"),
    ),
    Metric(
        "load_efficiency",
        "%",
        (),
        "Share of the loaded sectors' bytes that threads asked for; 100 % for coalesced access of any width.",
        ratio=("load_bytes", "load_sectors"),
        scale=_OF_A_SECTOR,
    ),
    Metric("store_requests", "requests", (f"l1tex__t_requests_{_GLOBAL}_st.sum",), "Stores of warps to global memory."),
    Metric("store_sectors", "sectors", (f"l1tex__t_sectors_{_GLOBAL}_st.sum",), "32-byte sectors that they touch."),
    Metric("store_bytes", "bytes", (f"{_ASKED}_st.sum",), "Bytes that threads write in these stores."),
    Metric(
        "sectors_per_store",
        "sectors",
        (),
        "Sectors of a warp's store, as `sectors_per_load`.",
        ratio=("store_sectors", "store_requests"),
    ),
    Metric(
        "store_efficiency",
        "%",
        (),
        "Share of the stored sectors' bytes that threads wrote, as `load_efficiency`.",
        ratio=("store_bytes", "store_sectors"),
        scale=_OF_A_SECTOR,
    ),
)

ON_CHIP = (
    Metric(
        "bank_conflicts",
        "conflicts",
        ("l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum",),
        "Extra passes over shared memory because threads of a warp met in a bank.",
    ),
    Metric(
        "shared_wavefronts",
        "wavefronts",
        ("l1tex__data_pipe_lsu_wavefronts_mem_shared.sum",),
        "All passes over shared memory, conflicts among them.",
    ),
    Metric(
        "shared",
        "%",
        ("l1tex__data_pipe_lsu_wavefronts_mem_shared.avg.pct_of_peak_sustained_elapsed",),
        "Passes over shared memory, in percent of what it can take.",
        "mean",
        "sm_cycles",
    ),
    Metric(
        "local_memory",
        "bytes",
        (f"{_LOCAL}_ld.sum", f"{_LOCAL}_st.sum"),
        "Bytes loaded from and stored to local memory: spilled registers, and arrays indexed at run time.",
    ),
)

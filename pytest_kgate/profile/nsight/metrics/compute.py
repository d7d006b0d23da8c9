"""Metrics of time and of the multiprocessors: how long, how busy, with what.

Instructions are no measure of work on tensor cores: one `wgmma` counts as four. Cycles in which a pipe was active count
`mma.sync` and `wgmma` alike.
"""

from __future__ import annotations

from pytest_kgate.profile.nsight.metrics.metric import Metric

_TENSOR_OPS = "sm__ops_path_tensor_src_"
_FP32 = "smsp__sass_thread_inst_executed_op_"


def _tensor_ops(*kinds: str) -> tuple[str, ...]:
    return tuple(f"{_TENSOR_OPS}{kind}.sum" for kind in kinds)


def _share(name: str, counter: str, meaning: str) -> tuple[Metric, Metric]:
    """A share of the peak, over the whole launch and over the cycles in which the SM had work."""
    return (
        Metric(
            name,
            "%",
            (f"{counter}.avg.pct_of_peak_sustained_elapsed",),
            f"{meaning}, in percent of the peak over the whole launch.",
            "mean",
            "sm_cycles",
        ),
        Metric(
            f"{name}_active",
            "%",
            (f"{counter}.avg.pct_of_peak_sustained_active",),
            f"The same while an SM had a warp: above `{name}` where the grid leaves SMs empty.",
            "mean",
            "sm_active_cycles",
        ),
    )


TIME = (
    Metric(
        "duration",
        "seconds",
        ("gpu__time_duration.sum",),
        "Time of the launch under the profiler, with its clocks and caches; never to be compared with a race.",
    ),
    Metric("sm_cycles", "cycles", ("sm__cycles_elapsed.max",), "Cycles of the SM clock from start to end."),
    Metric(
        "sm_active_cycles",
        "cycles",
        ("sm__cycles_active.avg",),
        "Cycles in which an SM had at least one warp, the mean of all SMs.",
    ),
    Metric(
        "sm_resident",
        "%",
        ("sm__cycles_active.avg.pct_of_peak_sustained_elapsed",),
        "Share of all SM cycles in which an SM had a warp: low for a small grid, or a long last wave.",
        "mean",
        "sm_cycles",
    ),
    Metric(
        "sm_clock",
        "hertz",
        ("sm__cycles_elapsed.avg.per_second",),
        "SM clock while the launch ran.",
        "mean",
        "duration",
    ),
)

PIPES = (
    *_share("sm", "sm__throughput", "The busiest part of the SMs, whichever it is"),
    *_share("tensor", "sm__pipe_tensor_cycles_active", "Tensor cores, for `mma.sync` and `wgmma` alike"),
    *_share("fma", "sm__pipe_fma_cycles_active", "Pipe of float32 arithmetic, and of integer products"),
    *_share("alu", "sm__pipe_alu_cycles_active", "Pipe of integers, logic, comparisons, minima and maxima"),
    *_share("xu", "sm__inst_executed_pipe_xu", "Pipe of exponentials, reciprocals, roots and conversions"),
    *_share("fp64", "sm__pipe_fp64_cycles_active", "Pipe of float64"),
    *_share("lsu", "sm__inst_executed_pipe_lsu", "Pipe of loads and stores, shared memory's among them"),
)

ISSUE = (
    Metric(
        "issue",
        "%",
        ("smsp__issue_active.avg.pct_of_peak_sustained_active",),
        "Share of a scheduler's cycles, while it had a warp, in which it issued an instruction.",
        "mean",
        "sm_active_cycles",
    ),
    Metric(
        "issue_elapsed",
        "%",
        ("smsp__issue_active.avg.pct_of_peak_sustained_elapsed",),
        "The same over the whole launch.",
        "mean",
        "sm_cycles",
    ),
    Metric(
        "ipc",
        "instructions",
        ("sm__inst_executed.avg.per_cycle_active",),
        "Instructions of an SM in a cycle in which it had a warp; at most 4.",
        "mean",
        "sm_active_cycles",
    ),
    Metric("instructions", "instructions", ("smsp__inst_executed.sum",), "Instructions of all warps."),
    Metric(
        "thread_instructions",
        "instructions",
        ("smsp__thread_inst_executed.sum",),
        "Instructions of all active threads.",
    ),
    Metric(
        "active_threads",
        "threads",
        (),
        "Threads of a warp that take part in an instruction; 32 where no branch diverges.",
        ratio=("thread_instructions", "instructions"),
    ),
)

WORK = (
    Metric(
        "tensor_ops",
        "operations",
        _tensor_ops("bf16_dst_fp32", "fp16_dst_fp16", "fp16_dst_fp32", "tf32_dst_fp32", "fp64"),
        "Operations on tensor cores, a multiplication and an addition being two; integers and 4 to 6 bits left out.",
        elsewhere={
            "sm_89": _tensor_ops("bf16_dst_fp32", "fp16_dst_fp16", "fp16_dst_fp32", "tf32_dst_fp32", "fp64", "fp8"),
            "sm_90": _tensor_ops("bf16_dst_fp32", "fp16", "tf32_dst_fp32", "fp64", "fp8"),
            "sm_100": _tensor_ops(
                *("bf16_dst_fp32", "fp16_dst_fp16", "fp16_dst_fp32", "tf32_dst_fp32", "fp64"),
                *("fp4_fp6_fp8_dst_fp16", "fp4_fp6_fp8_dst_fp32"),
            ),
            "sm_120": _tensor_ops(
                *("bf16_dst_fp32", "fp16_dst_fp16", "fp16_dst_fp32", "tf32_dst_fp32", "fp64"),
                *("fp8_dst_fp16", "fp8_dst_fp32"),
            ),
        },
    ),
    Metric(
        "fp32_ops",
        "operations",
        tuple(f"{_FP32}{kind}_pred_on.sum" for kind in ("fadd", "fmul", "ffma", "ffma")),
        "Float32 operations outside tensor cores; a fused multiplication and addition is two.",
    ),
)

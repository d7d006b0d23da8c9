"""Which published problems are judged with which solutions: what sweep.py runs, and what each should come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SOLUTIONS = Path(__file__).with_name("solutions")


@dataclass(frozen=True)
class Judged:
    """A problem, and functions of a file in solutions/."""

    set: str
    """`flashinfer-bench` or `reference-kernels`."""
    problem: str
    """The path without suffix below `definitions` and `workloads`, or that of the task below `problems`."""
    host: str
    """The case that is judged on the host."""
    gpu: str
    """The case that is judged on a GPU."""
    file: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    recorded: bool = False
    """Whether its workload has recorded inputs, which the public repository lacks: sweep.py makes some of its axes."""


JUDGED = (
    Judged(
        "flashinfer-bench",
        "rmsnorm/rmsnorm_h128",
        "4b7f0d02",
        "4b7f0d02",
        "rmsnorm.py",
        ("run", "handed_in"),
        ("last_row_missing", "two_percent"),
    ),
    Judged(
        "flashinfer-bench",
        "rmsnorm/rmsnorm_h7168",
        "98773f58",
        "75e6d0e3",
        "rmsnorm.py",
        ("run", "handed_in"),
        ("last_row_missing", "two_percent"),
    ),
    Judged(
        "flashinfer-bench",
        "rmsnorm/fused_add_rmsnorm_h2048",
        "906efdc6",
        "724a6dfa",
        "fused_add_rmsnorm.py",
        ("run", "handed_in"),
        ("without_residual", "two_percent"),
    ),
    Judged(
        "flashinfer-bench",
        "gemm/gemm_n128_k2048",
        "4fa7da89",
        "c49c96bd",
        "gemm.py",
        ("run", "handed_in"),
        ("dropped_tile", "last_column"),
    ),
    Judged(
        "flashinfer-bench",
        "gemm/gemm_n2048_k4096",
        "584d8577",
        "40e6e3af",
        "gemm.py",
        ("run", "handed_in"),
        ("dropped_tile", "last_column"),
    ),
    Judged(
        "flashinfer-bench",
        "gqa_paged/gqa_paged_decode_h32_kv4_d128_ps1",
        "27ef153a",
        "27ef153a",
        "gqa_paged_decode.py",
        ("run",),
        ("natural_lse", "last_page"),
        recorded=True,
    ),
    Judged(
        "flashinfer-bench",
        "gqa_ragged/gqa_ragged_prefill_causal_h32_kv4_d128",
        "3ca7457e",
        "3ca7457e",
        "gqa_ragged_prefill.py",
        ("run",),
        ("one_key_early", "half_scale"),
        recorded=True,
    ),
    Judged(
        "reference-kernels",
        "pmpp_v2/grayscale_py",
        "benchmarks:0",
        "benchmarks:4",
        "grayscale.py",
        ("custom_kernel", "returns_its_own"),
        ("mean", "left_unwritten"),
    ),
    Judged(
        "reference-kernels",
        "pmpp_v2/histogram_py",
        "tests:0",
        "benchmarks:4",
        "histogram.py",
        ("custom_kernel",),
        ("first_half", "one_short"),
    ),
    Judged(
        "reference-kernels",
        "pmpp_v2/sort_py",
        "benchmarks:0",
        "benchmarks:3",
        "sort.py",
        ("custom_kernel",),
        ("in_blocks",),
    ),
    Judged(
        "reference-kernels",
        "bioml/trimul",
        "tests:2",
        "benchmarks:0",
        "trimul.py",
        ("custom_kernel",),
        ("without_gate",),
    ),
    Judged(
        "reference-kernels",
        "bioml/trimul",
        "tests:3",
        "benchmarks:2",
        "trimul.py",
        ("custom_kernel",),
        ("without_mask",),
    ),
)

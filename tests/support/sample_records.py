"""Realistic records for the tests of the report room, made by the code that makes real ones where there is any."""

from __future__ import annotations

import copy
import functools
import zlib
from typing import Any

import numpy as np

from pytest_kgate.report.record.facts.limits import LimitFacts
from pytest_kgate.report.record.record import Record
from pytest_kgate.report.record.samples import arm_facts
from pytest_kgate.report.record.values import plain
from pytest_kgate.report.record.verdicts import overall_verdict
from pytest_kgate.statistics import estimates
from pytest_kgate.statistics import judge
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict

STARTED = "2026-01-02T03:04:05.678901+00:00"


def speed_record(
    test: str = "tests/test_attention.py::test_wmma[1x8x512x64]",
    *,
    ratio: float = 0.612,
    noise: float = 0.004,
    rounds: int = 24,
    reference_seconds: float = 12.4e-6,
    bounds: tuple[SpeedGate, ...] = (SpeedGate(0.95),),
    backend: str | None = "cudnn",
    call: int = 0,
    warnings: tuple[str, ...] = (),
    demanded_error: bool = True,
) -> Record:
    """A race of these rounds, judged by the real rule."""
    rng = np.random.default_rng(zlib.crc32(test.encode()))
    reference = reference_seconds * np.exp(noise * rng.standard_normal((rounds, 1)))
    reference = reference * np.exp(0.003 * rng.standard_normal((rounds, 10)))
    candidate = ratio * reference_seconds * np.exp(noise * rng.standard_normal((rounds, 1)))
    candidate = candidate * np.exp(0.003 * rng.standard_normal((rounds, 10)))
    judged = [judge.judge_rounds(gate, candidate, reference, seed=1, final=True) for gate in bounds]
    found = [
        judge.with_bootstrap_intervals(one, candidate, reference, seed=1).to_dict() for one in judged if one is not None
    ]
    correct = correctness()
    correct["default_tolerance"] = not demanded_error
    record = _record(test, call, warnings)
    record |= {
        "verdict": overall_verdict(found, correct if demanded_error or found else None),
        "reason": next((gate["reason"] for gate in found if gate["reason"]), ""),
        "reference": {
            "name": "sdpa",
            "backend": backend,
            "choices": {backend: reference_seconds, "math": 3 * reference_seconds} if backend else {},
        },
        "correctness": correct,
        "gates": found,
        "timing": {
            "timer": "graph",
            "cache": "hot",
            "rounds": rounds,
            "samples_per_round": 10,
            "budget_seconds": 2.0,
            "seconds_spent": 0.41,
            "tick_seconds": 3.2e-9,
            "retaken": 0,
            "candidate": arm_facts(candidate),
            "reference": arm_facts(reference),
            "overhead_seconds": {"candidate": 1.2e-6, "reference": 1.3e-6},
            "ratio_of_medians": float(np.median(candidate) / np.median(reference)),
            "outliers": {"candidate": estimates.count_outliers(candidate), "reference": 3},
        },
    }
    return plain(record)


def invalid_record(test: str = "tests/test_attention.py::test_wmma[1x8x64x64]") -> Record:
    """Timed, and then a timed launch turned out to have left another answer."""
    record = speed_record(test)
    reason = "a timed launch left another answer than the checked ones: off by 0.31 at [0, 3, 17, 2]"
    for gate in record["gates"]:
        gate |= {"verdict": Verdict.INVALID.value, "reason": reason}
    return record | {"verdict": "INVALID", "reason": reason}


def wrong_record(
    test: str = "tests/test_attention.py::test_broken[1x8x512x64]",
    *,
    error: float | None = 0.31,
    worst: dict[str, Any] | None = None,
    wrong_kinds: tuple[str, ...] = ("normal", "hard"),
    causal: bool = False,
) -> Record:
    """Checked, found wrong and never timed; an error of None is NaN or Inf."""
    record = _record(test, 0, ())
    reason = "the output holds NaN or Inf" if error is None else f"max |candidate - exact| is {error:.3g}"
    place = {"index": [0, 3, 100, 2], "candidate": 0.35, "exact": 0.04, "kind": wrong_kinds[0], "seed": 77}
    place |= {"wrong_fraction": 0.4, "not_finite_fraction": 1.0 if error is None else 0.0}
    found = correctness(error=error, wrong_kinds=wrong_kinds)
    found |= {"verdict": "FAIL", "reason": reason, "worst": place | (worst or {})}
    record["problem"]["causal"] = causal
    return plain(record | {"verdict": "WRONG", "reason": reason, "correctness": found})


def error_record(
    test: str = "tests/test_attention.py::test_crash[1x8x512x64]",
    reason: str = "A kernel faulted while timing: CUDA error: an illegal memory access was encountered. "
    "Run the test under `compute-sanitizer` to see which kernel and line.",
) -> Record:
    """The candidate could not run."""
    return _record(test, 0, ()) | {
        "verdict": "ERROR",
        "reason": reason,
        "reference": None,
        "correctness": None,
    }


def allclose_record(test: str = "tests/test_attention.py::test_correct[1x8x512x64]") -> Record:
    """Only an error bound was demanded; the race was measured."""
    return speed_record(test, bounds=())


def measured_record(test: str = "tests/test_attention.py::test_look") -> Record:
    """Nothing was demanded."""
    return speed_record(test, bounds=(), demanded_error=False)


def against_record(margin: float = 0.01, **raced: Any) -> Record:
    """A race against another revision; `raced` is as in `speed_record`."""
    record = speed_record(bounds=(SpeedGate(1 + margin),), **raced)
    known: Any = {"revision": "main", "commit": 40 * "0", "same": False, "source_hash": "f", "lacking": []}
    return {**record, "call": 100, "against": {**known, "margin": margin}}


def limit(name: str = "registers", value: float | None = 64, bound: float = 72, **facts: Any) -> LimitFacts:
    """A judged limit of a candidate's resources: at most `bound`."""
    over = value is not None and value > bound
    verdict = "NOT MEASURED" if value is None else "FAIL" if over else "PASS"
    reason = {"PASS": "", "FAIL": f"{name} {value} is above {bound}", "NOT MEASURED": f"{name} is not known"}[verdict]
    return {
        "kind": "resources",
        "name": name,
        "sense": "<=",
        "bound": bound,
        "unit": name,
        "value": value,
        "interval": None,
        "kernel": "attention<64>" if over else "",
        "verdict": verdict,
        "reason": reason,
        **facts,
    }


def session() -> list[Record]:
    """One of each kind, as a session might leave them."""
    return copy.deepcopy(_session())


@functools.cache
def _session() -> list[Record]:
    fallback = "graph timer not used: the candidate synchronises; the queue timer was used instead"
    both = (SpeedGate(0.95), SpeedGate(1.0, quantile=0.9))
    name = "tests/test_attention.py::test_{}[{}]".format
    return [
        speed_record(name("wmma", "1x8x512x64"), bounds=both, rounds=12),
        speed_record(name("wmma", "1x8x512x64-causal"), ratio=0.944, noise=0.03, rounds=96, backend="flash"),
        speed_record(name("wmma", "1x8x4096x128"), ratio=1.21, rounds=12, reference_seconds=451e-6),
        invalid_record(name("wmma", "1x8x64x64")),
        speed_record(name("triton", "1x8x512x64"), ratio=0.93, noise=0.006, rounds=48, warnings=(fallback,)),
        speed_record(name("triton", "1x8x512x64-causal"), ratio=0.9994, bounds=(SpeedGate(1.0),), warnings=(fallback,)),
        wrong_record(name("broken", "1x8x512x64")),
        error_record(name("crash", "1x8x512x64")),
        allclose_record(name("correct", "1x8x512x64")),
        measured_record("tests/test_attention.py::test_look"),
    ]


def correctness(error: float | None = 4.9e-4, wrong_kinds: tuple[str, ...] = ("normal", "hard")) -> dict[str, Any]:
    """The outcome of five draws, of which those of `wrong_kinds` have this error."""
    draws = []
    for seed, kind in enumerate(("normal", "hard", "normal", "hard", "normal")):
        own = error if kind in wrong_kinds else 4.9e-4
        draws.append(
            {
                "kind": kind,
                "seed": seed,
                "candidate_error": own,
                "reference_error": 4.1e-4,
                "output_rms": 0.062,
                "excess": None if own is None else own - 2e-3,
            }
        )
    return {
        "verdict": "PASS",
        "reason": "",
        "atol": 2e-3,
        "rtol": 0.0,
        "default_tolerance": False,
        "draws": draws,
        "candidate_error": error,
        "reference_error": 4.1e-4,
        "worst": None,
    }


def _record(test: str, call: int, warnings: tuple[str, ...]) -> Record:
    return {
        "test": test,
        "call": call,
        "started": STARTED,
        "verdict": "MEASURED",
        "reason": "",
        "problem": {
            "name": "sdpa 1x8x512x64 float16",
            "shape": [1, 8, 512, 64],
            "causal": False,
            "dtype": "float16",
            "flops": 4.0 * 8 * 512 * 512 * 64,
            "bytes": 4.0 * 8 * 512 * 64 * 2,
            "params": {"is_causal": False},
        },
        "candidate": {
            "name": "wmma",
            "implementation": "wmma",
            "knobs": {"BLOCK_M": 64},
            "source_hash": "9f1c",
            "flags": ["-O3"],
            "arch": "sm_90a",
            "resources": [
                {
                    "kernel": "attention",
                    "registers": 128,
                    "shared_bytes": 0,
                    "spill_bytes": 0,
                    "arch": "sm_90a",
                }
            ],
        },
        "reference": None,
        "correctness": None,
        "gates": [],
        "timing": None,
        "seeds": {"session": 42, "race": 42},
        "environment": {
            "kgate": "0.1.0",
            "python": "3.11.7",
            "packages": {"torch": "2.13.0"},
            "git": {"commit": "59f8542c0ffee", "dirty": False},
            "device": "cuda",
            "gpu": {"name": "NVIDIA H200", "uuid": "GPU-1234", "driver": "570.1", "l2_bytes": 52428800},
        },
        "warnings": list(warnings),
    }

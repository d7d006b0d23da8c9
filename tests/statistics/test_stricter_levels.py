"""Gates at smaller error rates than the usual one, as repeated confirmations pay for: on the bound few enough pass."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest

from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.statistics.judge_processes import Run
from pytest_kgate.statistics.judge_processes import judge_processes

ALPHAS = [0.0125, 0.00625]
"""One-sided; of a second and of a third confirmation."""


def samples(rng: np.random.Generator, rounds: int, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two equal arms with 2 % of noise, the candidate with an offset of its log latency that all rounds share."""
    candidate, reference = 1e-5 * np.exp(0.02 * rng.standard_normal((2, rounds, 2)))
    return candidate * np.exp(offset), reference


def too_many(passed: int, races: int, alpha: float) -> bool:
    return bool(binomtest(passed, races, alpha, alternative="greater").pvalue < 0.01)


def test_all_looks_of_a_process_together_err_no_more_often() -> None:
    races, rng = 150, np.random.default_rng(42)
    passed = dict.fromkeys(ALPHAS, 0)
    for _ in range(races):
        candidate, reference = samples(rng, LOOKS[-1])
        for alpha in ALPHAS:
            gate = SpeedGate(1.0, confidence=1 - 2 * alpha)
            looks = (judge_rounds(gate, candidate[:look], reference[:look], seed=1) for look in LOOKS)
            passed[alpha] += next(one for one in looks if one is not None).verdict is Verdict.PASS
    assert not [alpha for alpha in ALPHAS if too_many(passed[alpha], races, alpha)], passed


def test_processes_with_offsets_of_their_own_err_no_more_often() -> None:
    races, rng = 300, np.random.default_rng(43)
    passed = dict.fromkeys(ALPHAS, 0)
    for _ in range(races):
        runs = [Run(*samples(rng, 12, offset)) for offset in 0.005 * rng.standard_normal(5)]
        for alpha in ALPHAS:
            gate = SpeedGate(1.0, confidence=1 - 2 * alpha)
            passed[alpha] += judge_processes(gate, runs)[0].verdict is Verdict.PASS
    assert not [alpha for alpha in ALPHAS if too_many(passed[alpha], races, alpha)], passed

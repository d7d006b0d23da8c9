"""An evaluator whose candidates have known latencies, on the noise of the fake device: for counting false claims.

Every evaluation is a process of its own, as in a real search: noise that lasts as long as a race is drawn anew for it.
An evaluation's noise follows from the seed, the candidate and what is asked alone, so that a resumed search sees the
same.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from pytest_kgate.device.fake.noise import Noise
from pytest_kgate.search.policy.trial import Confirmation
from pytest_kgate.search.policy.trial import Estimate
from pytest_kgate.search.policy.trial import Trial
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.statistics.estimates import Floats
from pytest_kgate.statistics.estimates import log_ratios
from pytest_kgate.statistics.gate_facts import LOOKS
from pytest_kgate.statistics.gates import SpeedGate
from pytest_kgate.statistics.gates import Verdict
from pytest_kgate.statistics.group_sequential import SAMPLES
from pytest_kgate.statistics.intervals.fixed_rounds import of_log_ratios
from pytest_kgate.statistics.judge import judge_rounds
from pytest_kgate.statistics.judge_processes import Run
from pytest_kgate.statistics.judge_processes import judge_processes

_SHAPE = "shape"
"""The one shape of a simulated test."""

_CONFIRMATION = 1 << 20
"""In place of rounds, in the seed of a confirmation."""


class SimulatedEvaluator:
    """As `policy.evaluator.Evaluator`, without a kernel."""

    def __init__(
        self,
        truth: Mapping[Configuration, float],
        noise: Noise,
        seed: int,
        *,
        bound: float = 1.0,
        lasting_sd: float = 0.0,
    ) -> None:
        """`truth`: log(candidate latency / reference latency), infinite where the candidate can't be built.

        `lasting_sd`: of an offset that each candidate keeps in all its evaluations, as if they shared one process.
        """
        self.builds = 0
        """Candidates that were screened at least once."""
        self.rounds = 0
        """Of all races together: the price in the device's time."""
        self._truth = truth
        self._noise = noise
        self._seed = seed
        self._bound = bound
        self._lasting_sd = lasting_sd
        self._screened: set[Configuration] = set()

    def build(self, configurations: Sequence[Configuration]) -> None:
        """Do nothing."""

    def screen(self, configuration: Configuration, rounds: int) -> Trial:
        """As `Evaluator.screen`."""
        if configuration not in self._screened:
            self._screened.add(configuration)
            self.builds += 1
        if math.isinf(self._truth[configuration]):
            return Trial(configuration, "unbuildable", "made up: the compiler refuses it")
        return self._trial(configuration, self._race(configuration, rounds, rounds))

    def joint(self, configurations: Sequence[Configuration], rounds: int) -> list[Trial]:
        """As `Evaluator.joint`; all candidates are held to the same samples of the reference."""
        together = zlib.crc32("".join(one.id for one in configurations).encode())
        rng = np.random.default_rng([self._seed, together, rounds])
        samples = _samples(rng, self._noise, rounds)
        found = []
        for one in configurations:
            own = np.exp(self._log_ratio(one)) * _samples(rng, self._noise, rounds)[0]
            self.rounds += rounds
            found.append(self._trial(one, Run(own, samples[1]), joint=True))
        return found

    def confirm(self, configuration: Configuration, alpha: float, processes: int) -> Confirmation:
        """As `Evaluator.confirm`: the pure rule of a gate over several processes, or of one race at its looks."""
        gate = SpeedGate(self._bound, confidence=1 - 2 * alpha)
        most = LOOKS[-1]
        runs = [self._race(configuration, most, _CONFIRMATION + number) for number in range(processes)]
        if processes > 1:
            judgement = judge_processes(gate, runs)[0]
        else:
            looks = (judge_rounds(gate, runs[0].candidate[:look], runs[0].reference[:look], seed=1) for look in LOOKS)
            judgement = next(one for one in looks if one is not None)
            self.rounds += judgement.rounds - most
        ratio = judgement.ratio
        ratios = {} if ratio is None else {_SHAPE: (ratio.estimate, ratio.low, ratio.high)}
        passed = judgement.verdict is Verdict.PASS
        verdicts = {_SHAPE: judgement.verdict.value}
        return Confirmation(configuration, passed, alpha, processes, verdicts, ratios, judgement.reason)

    def _log_ratio(self, configuration: Configuration) -> float:
        if not self._lasting_sd:
            return self._truth[configuration]
        rng = np.random.default_rng([self._seed, zlib.crc32(configuration.id.encode())])
        return self._truth[configuration] + self._lasting_sd * float(rng.standard_normal())

    def _race(self, configuration: Configuration, rounds: int, purpose: int) -> Run:
        rng = np.random.default_rng([self._seed, zlib.crc32(configuration.id.encode()), purpose])
        candidate, reference = _samples(rng, self._noise, rounds)
        self.rounds += rounds
        return Run(np.exp(self._log_ratio(configuration)) * candidate, reference)

    def _trial(self, configuration: Configuration, run: Run, joint: bool = False) -> Trial:
        found = of_log_ratios(log_ratios(run.candidate, run.reference))
        estimate = Estimate(found.log_ratio, found.stderr, found.degrees, found.rounds)
        return Trial(configuration, "raced", estimates={_SHAPE: estimate}, objective=estimate, joint=joint)


def _samples(rng: np.random.Generator, noise: Noise, rounds: int) -> Floats:
    """Relative latencies of two equal arms in random order: (2, rounds, samples)."""
    slots = 2 * SAMPLES
    drawn = np.broadcast_to(noise.draw(rng, rounds, slots), (2, rounds, slots))
    order = rng.permuted(np.broadcast_to(np.arange(slots) % 2, (rounds, slots)), axis=1)
    samples: Floats = np.exp(np.stack([drawn[arm][order == arm].reshape(rounds, SAMPLES) for arm in (0, 1)]))
    return samples

"""The record of one `kbench` call, gathered step by step and made into JSON's types at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any
from typing import cast

import numpy as np

from pytest_kgate.bench import seeds
from pytest_kgate.bench.record.candidate import candidate_facts
from pytest_kgate.bench.record.warnings import of_check
from pytest_kgate.bench.record.warnings import of_race
from pytest_kgate.bench.record.warnings import of_request
from pytest_kgate.bench.seeds import Stream
from pytest_kgate.report.record.samples import arm_facts
from pytest_kgate.report.record.values import now
from pytest_kgate.report.record.values import plain
from pytest_kgate.report.record.verdicts import VERDICTS
from pytest_kgate.report.record.verdicts import overall_verdict
from pytest_kgate.report.record.verdicts import with_limits
from pytest_kgate.statistics.estimates import count_outliers
from pytest_kgate.statistics.gates import Judgement
from pytest_kgate.statistics.gates import Verdict

if TYPE_CHECKING:
    from pytest_kgate.bench.correctness.comparison.outcome import Correctness
    from pytest_kgate.bench.correctness.selftest import Selftest
    from pytest_kgate.bench.memory.plan import MemoryPlan
    from pytest_kgate.bench.race.race import Race
    from pytest_kgate.bench.race.reference import Reference
    from pytest_kgate.bench.race.retry import ValidRace
    from pytest_kgate.bench.race.speed_of_light.limit import LightAsked
    from pytest_kgate.bench.request import Request
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.device.protocol import Stopwatch
    from pytest_kgate.integrity.checks.of_call import IntegrityChecks
    from pytest_kgate.integrity.isolation.candidate import Isolation
    from pytest_kgate.report.record.facts.limits import RooflineFacts
    from pytest_kgate.report.record.facts.timing import Cache
    from pytest_kgate.report.record.facts.timing import EvidenceFacts
    from pytest_kgate.report.record.facts.timing import TimingFacts
    from pytest_kgate.report.record.record import CandidateFacts
    from pytest_kgate.report.record.record import Record


def not_judged(request: Request, device: Device, environment: Mapping[str, Any]) -> Record:
    """The record of a call that was neither raced nor judged: a profiler or sanitizer watched the candidate alone."""
    return RecordBuilder(replace(request, speed=(), error=None, light=None), device, environment).finish()


class RecordBuilder:
    """Collects each step's result as it becomes known, so that a call that breaks off still leaves a whole record."""

    def __init__(self, request: Request, device: Device, environment: Mapping[str, Any]) -> None:
        self.request = request
        self.started = now()
        self.environment = {**environment, **device.environment()}
        self.lease_name = self.environment.get("gpu", {}).get("uuid", device.kind)
        self.candidate: Arm | None = None
        self.reference: Reference | None = None
        self.correctness: Correctness | None = None
        self.selftest: Selftest | None = None
        self.stopwatch: Stopwatch | None = None
        self.light: LightAsked | None = None
        self.advice: list[str] = []
        self.valid_race: ValidRace | None = None
        self.race: Race | None = None
        self.integrity: IntegrityChecks | None = None
        self.isolation: Isolation | None = None
        self.seconds: dict[str, float] = {}
        self.memory: MemoryPlan | None = None
        self.error: str | None = None
        self.problem_at_fault = False
        self.undone: str | None = None
        self.invalid: str | None = None

    @property
    def candidate_name(self) -> str:
        """The candidate's name in tables."""
        return str(self._candidate_facts()["name"])

    @property
    def may_pass(self) -> bool:
        """Whether a race was run, and check and gates have all passed; the integrity checks still follow.

        A race that only measures has nothing to pass.
        """
        if self.invalid or self.correctness is None or self.race is None or not self.race.rounds:
            return False
        if self.request.measured:
            return False
        judged = (self.correctness.verdict, *(one.verdict for one in self.race.judgements))
        light = self.race.light
        return all(verdict is Verdict.PASS for verdict in judged) and (light is None or light.verdict is Verdict.PASS)

    def finish(self) -> Record:
        """The record of all that is known by now, in JSON's own types."""
        self.invalid = self.invalid or (self.integrity.findings.reason() if self.integrity else None)
        if self.race and self.race.light and self.race.light.verdict is Verdict.INVALID:
            self.invalid = self.invalid or self.race.light.reason
        judgements = self._judgements()
        gates = [one.to_dict() for one in judgements]
        correctness = self.correctness.to_dict() if self.correctness else None
        judged = correctness if self.request.must_be_right else None
        verdict = overall_verdict(gates, judged, ran=self.error is None)
        if self.invalid and VERDICTS[verdict].passes:
            verdict = "INVALID"
        weak = self.correctness.lets_idle_pass if self.correctness and self.request.settings.weak == "fail" else ""
        if weak and verdict == "PASS":
            verdict = "WEAK"
        if verdict == "PASS" and self.request.measured:
            verdict = "MEASURED"
        if self.selftest:
            verdict = "FAIL" if self.selftest.lived else "PASS"
        reasons = [
            self.error,
            self.invalid,
            self.selftest.reason if self.selftest else "",
            judged["reason"] if judged else "",
            *(gate["reason"] for gate in gates),
            weak if verdict == "WEAK" else "",
        ]
        record: Record = {
            "test": self.request.test,
            "call": self.request.call,
            "attempt": self.request.attempt,
            "started": self.started,
            "verdict": verdict,
            "reason": next((reason for reason in reasons if reason), ""),
            "problem": self.request.problem_facts,
            "candidate": self._candidate_facts(),
            "reference": self.reference.to_dict() if self.reference else None,
            "sanitizer": self.request.sanitizer,
            "correctness": correctness,
            "gates": gates,
            "timing": self._timing(),
            "integrity": self.integrity.to_dict() if self.integrity else None,
            "seeds": {
                "book": seeds.VERSION,
                "session": seeds.text(self.request.session_seed),
                "race": seeds.text(self.valid_race.seed if self.valid_race else self.request.seed),
            },
            "environment": self.environment,
            "warnings": self._warnings(),
        }
        if self.problem_at_fault:
            record["at_fault"] = "problem"
        if self.seconds:
            record["seconds"] = dict(self.seconds)
        if self.undone and record["timing"]:
            record["timing"]["undone"] = self.undone
        if self.memory:
            record["memory"] = self.memory.to_dict(self._given_up())
        if self.request.measured:
            record["measured"] = self.request.measured
        if self.request.asked:
            record["asked"] = self.request.asked
        if self.request.sources:
            record["sources"] = dict(self.request.sources)
        if self.selftest:
            record["selftest"] = self.selftest.to_dict()
        if self.isolation:
            record["isolation"] = self.isolation.to_dict()
        if roofline := self._roofline():
            record["roofline"] = roofline
        limits = [self.light.limit(self.race.light, self.invalid)] if self.light and self.race else []
        in_json_types: Record = plain(with_limits(record, limits))
        return in_json_types

    def _candidate_facts(self) -> CandidateFacts:
        return candidate_facts(self.request, self.candidate, self.correctness, self.isolation)

    def _judgements(self) -> list[Judgement]:
        """The race's judgements, each with the bootstrap intervals that records show beside the deciding one."""
        if self.race is None:
            return []
        from pytest_kgate.statistics.judge import with_bootstrap_intervals  # here, since it imports SciPy

        arms, seed = (self.race.candidate, self.race.reference), self.request.book.seed(Stream.RESAMPLES)
        judgements = [with_bootstrap_intervals(one, *arms, seed=seed) for one in self.race.judgements]
        if self.invalid:
            return [replace(one, verdict=Verdict.INVALID, reason=self.invalid) for one in judgements]
        return judgements

    def _timing(self) -> TimingFacts | None:
        if self.race is None or self.stopwatch is None or not self.race.rounds:
            return None
        result = self.race
        overhead, tick = np.median(result.overhead_seconds, axis=0).tolist(), self.stopwatch.tick_seconds
        readings = {name: values.tolist() for name, values in result.evidence.items()}
        return {
            "timer": self.stopwatch.timer,
            "cache": cast("Cache", self.stopwatch.cache),
            "rounds": result.rounds,
            "samples_per_round": result.candidate.shape[1],
            "budget_seconds": self.request.settings.budget,
            "seconds_spent": result.spent_seconds,
            "tick_seconds": tick,
            "offset_sd": self.stopwatch.offset_sd,
            "retaken": result.retaken,
            "candidate": arm_facts(result.candidate, self.request.settings.percentile),
            "reference": arm_facts(result.reference, self.request.settings.percentile),
            "overhead_seconds": {"candidate": overhead[0], "reference": overhead[1]},
            "ratio": result.ratio.to_dict() if result.ratio else None,
            "ratio_of_medians": result.ratio_of_medians,
            "evidence": cast("EvidenceFacts", {**readings, **(self.valid_race.facts if self.valid_race else {})}),
            "probes": result.probes.to_dict(),
            "outliers": {
                "candidate": count_outliers(result.candidate, tick),
                "reference": count_outliers(result.reference, tick),
            },
        }

    def _roofline(self) -> RooflineFacts | None:
        if self.race is None and not self.request.in_processes:
            return None
        from pytest_kgate.bench.race.speed_of_light.limit import known_roofline  # here, as above

        known = (self.request.problem, self.environment, self.request.settings.cache)
        return self.light.roofline() if self.light else known_roofline(*known)

    def _given_up(self) -> list[str]:
        """What lies in the host's memory, since the GPU has no room for it."""
        found = []
        if self.correctness and self.correctness.exact_on_host:
            found.append("exact answers")
        if self.memory and self.memory.keeps_answers_on_host and self.race and not self.isolation:
            found.append("answers of timed launches")
        return found

    def _warnings(self) -> list[str]:
        warnings = [*([self.request.differs] if self.request.differs else []), *self.request.notes]
        warnings += self.stopwatch.warnings if self.stopwatch else []
        if self.reference:
            warnings += self.reference.warnings
        if self.integrity:
            warnings += self.integrity.findings.warnings
        if self.isolation:
            warnings += self.isolation.warnings
        warnings += self.advice
        if self.light:
            warnings += self.light.warnings(self.race.light if self.race else None, self.request.settings.cache)
        if self._given_up():
            warnings.append(
                f"the GPU's memory is short: {' and '.join(self._given_up())} lie in the host's, which takes longer"
            )
        if self.valid_race:
            warnings += self.valid_race.warnings
            if self.valid_race.invalid and not self.request.judged_by_race:
                warnings.append(f"not to be trusted: {self.valid_race.invalid}")
        warnings += of_race(self.race) if self.race else []
        warnings += of_check(self.correctness, judged=self.request.must_be_right) if self.correctness else []
        if self.selftest and self.selftest.honest:
            warnings.append(f"the reference itself would fail this check: {self.selftest.honest}")
        return [*warnings, *of_request(self.request)]

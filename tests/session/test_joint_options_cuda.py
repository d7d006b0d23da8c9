"""A joint race on a GPU, of kernels with other knobs: who is raced, and that each reads what it reads alone."""

from __future__ import annotations

import json
import math

import pytest

from pytest_kgate.report.ranking.log_ratio import log_ratio_estimate
from pytest_kgate.report.ranking.log_ratio import paired_difference
from pytest_kgate.report.record.document import load

pytestmark = pytest.mark.gpu

TESTS = """
import pytest
from pytest_kgate import Shape

@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(0.95)
@pytest.mark.parametrize("shape", [Shape(1, 8, 512, 64), Shape(1, 8, 1024, 64, causal=True)], ids=str)
def test_mma(kbench, sdpa_oracle, kernels, shape):
    kbench(kernels("mma"), sdpa_oracle(shape))
"""

KNOBS = [{"BLOCK_N": 32}, {"BLOCK_N": 64}, {"BLOCK_N": 64, "STAGES": 2}, {"BLOCK_N": 24}]
"""The last is no multiple of a tile: it does not build, or refuses the shape."""

OF_CANDIDATE = 0.015
"""Processes differ by some 0.2 %, medians of 24 rounds by less than 1 %."""

OF_REFERENCE = 0.04
"""cuDNN's attention of 9 us read up to 4.6 % more beside two candidates than beside one; its candidates did not."""


@pytest.fixture
def run(pytester):
    def run(*arguments):
        result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--kgate-json=records.json", *arguments)
        return result, load(pytester.path / "records.json")

    pytester.makepyfile(test_it=TESTS)
    return run


def test_a_number_of_rounds_costs_less_than_a_second_and_judges_nothing(run):
    result, records = run("--kgate-rounds=12", "--kgate-knob=BLOCK_N=64")
    result.assert_outcomes(passed=2)
    for record in records:
        assert (record["verdict"], record["timing"]["rounds"], record["gates"]) == ("MEASURED", 12, [])
        assert record["timing"]["timer"] == "graph"
    # Of the first call libraries are loaded, and the reference is chosen.
    spent = {name: seconds for name, seconds in records[1]["seconds"].items() if name != "lease"}
    print(json.dumps(spent))


def test_kernels_share_rounds_and_read_what_they_read_alone(pytester, run):
    pytester.makefile(".json", knobs=json.dumps(KNOBS))
    _, records = run("--kgate-joint=knobs.json", "--kgate-rounds=24")
    raced = [record for record in records if record["verdict"] == "MEASURED"]
    assert len(raced) == 6
    assert {record["measured"]["joint"]["arms"] for record in raced} == {4}
    assert {record["timing"]["timer"] for record in raced} == {"graph"}
    assert all(record["timing"]["retaken"] == 0 for record in raced)
    for first, second in zip(raced[::3], raced[1::3], strict=True):
        assert paired_difference(first, second).stderr < 0.01
    _, alone = run("--kgate-rounds=24", "--kgate-knob=BLOCK_N=64")
    for one, together in zip(alone, raced[1::3], strict=True):
        own, shared = (record["timing"]["candidate"]["median_seconds"] for record in (one, together))
        assert abs(math.log(own / shared)) < OF_CANDIDATE, (own, shared)
        own, shared = log_ratio_estimate(one), log_ratio_estimate(together)
        slack = OF_REFERENCE + 4 * math.hypot(own.stderr, shared.stderr)
        assert abs(own.log_ratio - shared.log_ratio) < slack, (own, shared)

"""What a problem's functions hold on a GPU: values that a candidate writes there are named, others' are not."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.gpu

MANY = "nn.Sequential(*(one for _ in range(20) for one in (nn.Linear(256, 256), nn.LayerNorm(256))))"
"""80 tensors, more than are looked at."""


@pytest.fixture
def verdict(pytester):
    """What became of a gate of a candidate against relu(x) with the weights and buffers of a module."""

    def verdict(candidate, *, module="nn.Linear(256, 256)", exact="lambda x: module(x.float())"):
        pytester.makepyfile(
            f"""
            import pytest
            import torch
            import torch.nn.functional as F
            from torch import nn
            from pytest_kgate import Problem

            torch.manual_seed(7)

            @pytest.fixture
            def module():
                return {module}.cuda()

            @pytest.mark.allclose(1e-2)
            def test_it(kbench, module):
                draw = lambda g: (torch.randn(512, 256, generator=g, device="cuda"),)
                problem = Problem("linear", draw, module, {exact})

                def candidate(x):
                    {candidate}

                kbench(candidate, problem, budget=0.5)
            """
        )
        pytester.runpytest_subprocess("--kgate-device=cuda", "--kgate-json=found.json", "-p", "no:cacheprovider")
        from pytest_kgate.report.record.document import load

        (record,) = load(pytester.path / "found.json")
        return record["verdict"], record["reason"]

    return verdict


@pytest.mark.parametrize(
    "write",
    [
        "module.weight.data.zero_(); module.bias.data.zero_(); return x.new_zeros(512, 256)",
        "module.weight.data[::2] = 0; return F.linear(x, module.weight, module.bias)",
    ],
    ids=["all", "half"],
)
def test_candidate_that_writes_to_weights_on_a_gpu_does_not_pass(verdict, write):
    found, reason = verdict(write)
    assert found == "INVALID", reason
    assert "weight" in reason


@pytest.mark.parametrize(
    ("candidate", "module"),
    [
        ("return F.linear(x, module.weight, module.bias)", "nn.Linear(256, 256)"),
        (
            "return module(x)",
            MANY,
        ),
        ("return module(x)", "nn.BatchNorm1d(256)"),
        ("return F.batch_norm(x, None, None, module.weight, module.bias, training=True)", "nn.BatchNorm1d(256)"),
    ],
    ids=["weights", "many", "statistics of both", "statistics of the reference"],
)
def test_honest_candidate_that_reads_weights_on_a_gpu_passes(verdict, candidate, module):
    found, reason = verdict(candidate, module=module, exact="module")
    assert found == "PASS", reason

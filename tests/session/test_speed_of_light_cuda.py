"""Speed of light on a GPU: what is known to be near its roofline passes, and what is far from it fails."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.gpu

TESTS = """
import pytest
import torch
from pytest_kgate import Problem, Shape

def normal(*extents, dtype=torch.float16):
    return lambda g: torch.randn(extents, generator=g, device=g.device, dtype=dtype)

def product(n):
    draw = normal(n, n)
    exact = lambda a, b: a.double() @ b.double()
    return Problem(f"mm {n}", lambda g: (draw(g), draw(g)), torch.mm, exact, flops=2.0 * n**3, bytes=6.0 * n * n,
        dtype="float16")

def relu(n):
    draw = normal(n, dtype=torch.float32)
    exact = lambda x: torch.relu(x.double())
    return Problem(f"relu {n}", lambda g: (draw(g),), torch.relu, exact, flops=float(n), bytes=8.0 * n, dtype="float32")

@pytest.mark.speed_of_light(0.8)
def test_large_product(kbench): kbench(torch.mm, product(4096))

@pytest.mark.speed_of_light(0.8)
def test_large_relu(kbench): kbench(torch.relu, relu(2**27))

@pytest.mark.speed_of_light(0.7)
def test_cold_relu(kbench): kbench(torch.relu, relu(2**25), cache="cold")

@pytest.mark.speed_of_light(0.3)
def test_relu_within_the_l2(kbench): kbench(torch.relu, relu(2**21))

@pytest.mark.speed_of_light(0.5)
@pytest.mark.speedup(0.9)
def test_small_product(kbench): kbench(torch.mm, product(256), speedup=2.0)

@pytest.mark.speed_of_light(0.02)
def test_attention(kbench, sdpa_oracle): kbench(kernel, sdpa_oracle(Shape(2, 8, 2048, 128)))

def kernel(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)
"""


def test_kernels_near_the_roofline_pass_and_those_far_from_it_fail(pytester, monkeypatch):
    monkeypatch.setenv("KGATE_CACHE_DIR", str(pytester.path / "kept"))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rA", "--kgate-json", "records.json")
    records = json.loads((pytester.path / "records.json").read_text())["records"]
    found = {record["test"].rpartition("::")[2]: record for record in records}
    shown = {name: (one["verdict"], one["limits"][0]["value"], one["roofline"]) for name, one in found.items()}
    verdicts = {name: one["limits"][0]["verdict"] for name, one in found.items()}
    assert verdicts.pop("test_small_product") == "FAIL", shown
    assert set(verdicts.values()) == {"PASS"}, shown
    assert found["test_large_product"]["roofline"]["set_by"] == "flops"
    assert found["test_large_relu"]["roofline"]["set_by"] == "bytes"
    assert not found["test_cold_relu"]["roofline"]["from_cache"]
    for name in ("test_large_product", "test_large_relu", "test_cold_relu"):
        assert found[name]["limits"][0]["value"] < 115, shown
    first, second = (one["seconds"].get("roofline", 0.0) for one in records[:2])
    assert second < 0.5 < first < 10  # measured once
    result.assert_outcomes(passed=5, failed=1)

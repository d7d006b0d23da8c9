"""On a GPU: each planted kernel is given its own name as the first finding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from planted_kernels import PLANTED
from planted_kernels import Planted
from planted_kernels import profiled

from pytest_kgate.build.kernel import prepare
from pytest_kgate.profile.insights.find import insights_of
from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.collection.collect import Collection
from pytest_kgate.profile.nsight.collection.collect import CountedTest
from pytest_kgate.profile.nsight.collection.collect import collect
from pytest_kgate.profile.nsight.metrics.table import USUAL
from pytest_kgate.profile.nsight.metrics.table import raw_names
from pytest_kgate.profile.under_tool.program import find_program
from pytest_kgate.profile.under_tool.session import ToolSession

pytestmark = pytest.mark.gpu(alone=False)

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def arch() -> str:
    return "sm_{}{}".format(*torch.cuda.get_device_capability())


@pytest.fixture(scope="module")
def counted(arch: str) -> Mapping[str, CountedTest]:
    """All in one process; everything is built here first, as a compiler that runs under the tool is slow."""
    program = find_program("ncu")
    if program is None:
        pytest.skip("ncu is not installed")
    broken = [one for one in prepare([(one.path, {}) for one in PLANTED]) if isinstance(one, Exception)]
    if broken:
        raise broken[0]
    session = ToolSession(HERE, ("-m", "", "-k", ""), timeout_seconds=500.0)
    found = collect([str(HERE / "planted_cases.py")], Collection(program, raw_names(USUAL, arch), session))
    return {test.partition("[")[2].removesuffix("]"): one for test, one in found.items()}


@pytest.mark.parametrize("planted", PLANTED, ids=[f"{one.folder}-{one.name}" for one in PLANTED])
def test_a_planted_kernel_is_given_its_name_first(
    planted: Planted, arch: str, counted: Mapping[str, CountedTest]
) -> None:
    one = counted.get(f"{planted.folder}-{planted.name}", counted.get(""))
    assert one is not None, "the process under ncu ended before it came to this kernel"
    if one.reason:
        pytest.skip(one.reason)
    launches = next(call.launches for call in one.calls if call.arm == "candidate")
    first, *_ = insights_of(profiled(planted, arm_counters(launches, arch)))
    assert first["name"] == planted.expected_on(torch.cuda.get_device_name()), first["finding"]

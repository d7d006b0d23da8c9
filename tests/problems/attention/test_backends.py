"""How a reference has SDPA take one backend, and leaves PyTorch's switches as they were."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate.problems.attention.pytorch.backends import _SWITCHES
from pytest_kgate.problems.attention.pytorch.backends import BACKENDS
from pytest_kgate.problems.attention.pytorch.backends import only


def _enabled():
    return [name for name, (_, enabled) in _SWITCHES.items() if enabled()]


@pytest.fixture
def a_switch_is_off():
    torch.backends.cuda.enable_math_sdp(False)
    yield
    torch.backends.cuda.enable_math_sdp(True)


@pytest.mark.usefixtures("a_switch_is_off")
@pytest.mark.parametrize("name", BACKENDS)
def test_one_backend_is_on_in_the_block_and_after_it_those_from_before(name) -> None:
    before = _enabled()
    with only(name, on_host=False):
        assert _enabled() == [name]
    assert _enabled() == before == ["flash", "cudnn", "efficient"]


def test_on_the_host_only_what_means_something_there_is_touched() -> None:
    with only("flash", on_host=True):
        assert _enabled() == ["flash", "cudnn", "efficient"]
    with only("efficient", on_host=True), pytest.raises(RuntimeError):
        torch.nn.functional.scaled_dot_product_attention(*torch.randn(3, 1, 1, 8, 8))
    assert _enabled() == list(BACKENDS)

"""The GPU of these tests, and small inputs on it."""

from __future__ import annotations

import pytest

from pytest_kgate.device.protocol import Workload


@pytest.fixture(scope="module")
def device():
    from pytest_kgate.device.cuda.device import CudaDevice

    return CudaDevice(0)


@pytest.fixture(scope="module")
def workload():
    import torch

    return Workload(lambda seed: (torch.randn(1024, device="cuda"),), lambda inputs: torch.empty_like(inputs[0]))

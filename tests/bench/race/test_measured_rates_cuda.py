"""What a GPU attains is measured within seconds, below what its hardware can do, and repeats itself."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate.bench.race.speed_of_light import kept
from pytest_kgate.bench.race.speed_of_light.measure import measured_rates
from pytest_kgate.bench.race.speed_of_light.rates import TF32
from pytest_kgate.device.cuda.device import CudaDevice
from pytest_kgate.integrity.roofline import peaks_of

pytestmark = pytest.mark.gpu


def test_rates_are_below_the_hardware_s_peaks_and_repeat_themselves():
    device = CudaDevice(0)
    identity = kept.identity_of(device.environment())
    first, second = (measured_rates(device, identity) for _ in range(2))
    assert second.seconds < 10
    peaks = peaks_of(device)
    for name, rate in first.operations.items():
        assert rate.per_second == pytest.approx(second.operations[name].per_second, rel=0.1), name
        if peaks is not None:
            assert rate.per_second < peaks.flops_per_second * (2 if name in ("float8_e4m3fn", "int8") else 1), name
    if peaks is not None and peaks.far_bytes_per_second is not None:
        assert first.copies[-1].per_second < peaks.far_bytes_per_second
    assert first.moving(2**23, "hot").per_second >= first.moving(2**23, "cold").per_second
    assert first.operations["float16"].per_second > first.operations["float32"].per_second
    if torch.cuda.get_device_capability(0) >= (8, 0):
        assert first.operations[TF32].per_second > first.operations["float32"].per_second
    if torch.cuda.get_device_capability(0) >= (8, 9):
        assert first.operations["float8_e4m3fn"].per_second > first.operations["float16"].per_second

"""Which device a name means."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate.device.open import assigned
from pytest_kgate.device.open import open_device
from pytest_kgate.errors import DeviceMissing


@pytest.fixture
def gpus(monkeypatch):
    def have(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


def test_auto_is_the_first_gpu_or_else_the_host(gpus):
    gpus(2)
    assert (assigned("auto"), assigned("cuda")) == ("cuda:0", "cuda:0")
    gpus(0)
    assert (assigned("auto"), assigned("cuda")) == ("host", "cuda:0")
    assert open_device("auto").kind == "host"


def test_workers_take_the_gpus_in_turn(gpus):
    gpus(2)
    assert [assigned("auto", f"gw{number}") for number in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert assigned("auto", "master") == "cuda:0"


def test_device_that_is_named_is_the_same_in_every_worker(gpus):
    gpus(4)
    assert (assigned("cuda:3", "gw1"), assigned("host", "gw1")) == ("cuda:3", "host")


def test_gpu_that_is_asked_for_where_there_is_none_is_missing(gpus):
    gpus(0)
    with pytest.raises(DeviceMissing, match="No CUDA device is available"):
        open_device("cuda")


def test_rocm_build_is_told_from_a_gpu_of_nvidias(gpus, monkeypatch):
    gpus(1)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert assigned("auto") == "host"
    with pytest.raises(DeviceMissing, match=r"built for ROCm 6\.4"):
        open_device("cuda")

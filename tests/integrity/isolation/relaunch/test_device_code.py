"""Device code out of libraries and caches: nvcc's own output is read, and whatever else is there does no harm."""

from __future__ import annotations

import contextlib
import random
import subprocess

import pytest

from pytest_kgate.build.compiler import toolchain
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.integrity.isolation.captured.device_code import images_in_folder
from pytest_kgate.integrity.isolation.captured.device_code import images_of_library
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable

SOURCE = 'extern "C" __global__ void kgate_twice(float* x) { x[threadIdx.x] *= 2; }'


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The bytes of a library that nvcc has made."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "twice.cu").write_text(SOURCE)
    try:
        compiler = toolchain.cuda_compiler()
    except ToolchainMissing as missing:
        pytest.skip(missing.what)
    command = [*compiler.command, "-arch=sm_90a", "-shared", "-Xcompiler", "-fPIC", "twice.cu", "-o", "twice.so"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "twice.so").read_bytes()


def test_fat_binary_of_a_library_is_found(library):
    images = images_of_library(library)
    assert all(image.startswith(b"\x50\xed\x55\xba") for image in images)
    assert any(b"kgate_twice" in image or len(image) > 500 for image in images)


def test_library_cut_short_or_garbled_is_refused_or_read(library):
    dice = random.Random(1)
    for _ in range(300):
        data = bytearray(library[: dice.randrange(len(library))] if dice.random() < 0.5 else library)
        for _ in range(8):
            if data:
                data[dice.randrange(len(data))] = dice.randrange(256)
        with contextlib.suppress(NotRelaunchable):
            images_of_library(bytes(data))


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\0" * 58, b"#!/bin/sh"])
def test_what_is_no_library_is_refused(data):
    with pytest.raises(NotRelaunchable):
        images_of_library(data)


def test_folder_gives_each_file_of_device_code_once(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernel.cubin").write_bytes(b"code")
    (tmp_path / "a" / "kernel.json").write_text("{}")
    assert images_in_folder(tmp_path) == (b"code",)


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernel.cubin").symlink_to(tmp_path / "secret")
    with pytest.raises(NotRelaunchable):
        images_in_folder(tmp_path / "cache")

"""Device code that a candidate's process has left: files are read, and whatever else is there does no harm."""

from __future__ import annotations

import pytest

from pytest_kgate.integrity.isolation.captured.device_code import images_in_folder
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable
from pytest_kgate.integrity.isolation.captured.loaded_code import LoadedCode


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


def test_of_the_modules_that_were_loaded_those_with_the_kernels_are_left(tmp_path):
    loaded = LoadedCode()
    loaded.images = dict.fromkeys((b"ELF one\0", b"ELF two\0 more", b"ELF twofold\0"))
    loaded.save(["two", "of_nobody"], tmp_path / "code")
    loaded.end()
    assert images_in_folder(tmp_path / "code") == (b"ELF two\0 more",)

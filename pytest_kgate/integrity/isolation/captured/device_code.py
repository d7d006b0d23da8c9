"""The code for the GPU out of a compiled library, so that a driver can load it and no code for the host runs."""

from __future__ import annotations

import itertools
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable

_ELF = b"\x7fELF\x02\x01"
"""The first bytes of an object file of 64 bits, least significant byte first."""

_SECTION = b".nv_fatbin"
_FATBIN = 0xBA55ED50
"""The first word of one fat binary: nvcc's, which holds code for one GPU or several, compressed maybe."""

_MOST_SECTIONS = 4096
_MOST_IMAGES = 256
_MOST_FILES = 10_000
_MOST_BYTES = 2**26
"""Of all images together."""


def images_of_library(data: bytes) -> tuple[bytes, ...]:
    """The fat binaries in a shared library of these bytes; raises `NotRelaunchable` where there are none to be had."""
    try:
        images = tuple(_fatbins(data))
    except (struct.error, IndexError):
        raise NotRelaunchable("the library's device code can't be read") from None
    if not images:
        raise NotRelaunchable("the library holds no device code")
    return images


def images_in_folder(folder: Path) -> tuple[bytes, ...]:
    """The distinct files `*.cubin` in a folder that an untrusted process may still write to, such as Triton's cache.

    Raises `NotRelaunchable` where there are none, or too many.
    """
    images: dict[bytes, None] = {}
    try:
        paths = [path for path in itertools.islice(folder.rglob("*"), _MOST_FILES) if path.suffix == ".cubin"]
        for path in sorted(paths)[: 2 * _MOST_IMAGES]:
            images |= dict.fromkeys(_regular(path))
            if len(images) > _MOST_IMAGES or sum(map(len, images)) > _MOST_BYTES:
                raise NotRelaunchable("its compiler has left more device code than is taken")
    except (OSError, RecursionError):
        raise NotRelaunchable("what its compiler has left can't be read") from None
    if not images:
        raise NotRelaunchable("there is no device code of it: it is neither a source that was built here nor Triton's")
    return tuple(images)


def _regular(path: Path) -> Iterator[bytes]:
    """The content of a regular file; nothing of a link or a pipe, not even if it becomes one now."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield file.read(_MOST_BYTES + 1)


def _fatbins(data: bytes) -> Iterator[bytes]:
    taken = 0
    for section in _sections(data):
        at = 0
        while at + 16 <= len(section):
            magic, _, header_bytes, code_bytes = struct.unpack_from("<IHHQ", section, at)
            if magic != _FATBIN:
                at += 8  # padding; fat binaries are aligned to that
                continue
            end = at + header_bytes + code_bytes
            taken += 1
            if not header_bytes or end > len(section) or taken > _MOST_IMAGES or end > _MOST_BYTES:
                raise NotRelaunchable("the library's device code can't be read")
            yield section[at:end]
            at = end


def _sections(data: bytes) -> Iterator[bytes]:
    """Contents of the sections with device code, by the table of sections at the end of an ELF file."""
    if not data.startswith(_ELF):
        raise NotRelaunchable("the library is no ELF file of 64 bits")
    (table,) = struct.unpack_from("<Q", data, 0x28)
    entry_bytes, count, names_index = struct.unpack_from("<HHH", data, 0x3A)
    if count > _MOST_SECTIONS or names_index >= count:
        raise NotRelaunchable("the library's sections can't be read")
    entries = [struct.unpack_from("<IIQQQQ", data, table + at * entry_bytes) for at in range(count)]
    names = entries[names_index][4]
    for name, _, _, _, offset, size in entries:
        start = names + name
        if data[start : start + len(_SECTION) + 1] == _SECTION + b"\0":
            yield data[offset : offset + size]

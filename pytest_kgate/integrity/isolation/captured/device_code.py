"""The device code that a candidate's process has left in its folder, for a driver to load."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable

DEVICE_CODE = "device-code"
"""Where in its own folder the candidate's process leaves the code of the kernels that it launches."""

_MOST_IMAGES = 64
_MOST_FILES = 10_000
_MOST_BYTES = 2**26
"""Of all images together."""


def images_in_folder(folder: Path) -> tuple[bytes, ...]:
    """The distinct files `*.cubin` in a folder that an untrusted process may still write to.

    Raises `NotRelaunchable` where there are none, or too many.
    """
    images: dict[bytes, None] = {}
    try:
        paths = [path for path in itertools.islice(folder.rglob("*"), _MOST_FILES) if path.suffix == ".cubin"]
        for path in sorted(paths)[: 2 * _MOST_IMAGES]:
            images |= dict.fromkeys(_regular(path))
            if len(images) > _MOST_IMAGES or sum(map(len, images)) > _MOST_BYTES:
                raise NotRelaunchable("its kernels take more device code than is taken")
    except (OSError, RecursionError):
        raise NotRelaunchable("the device code of its kernels can't be read") from None
    if not images:
        raise NotRelaunchable("there is no device code of the kernels that it says it launches")
    return tuple(images)


def _regular(path: Path) -> Iterator[bytes]:
    """The content of a regular file; nothing of a link or a pipe, not even if it becomes one now."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield file.read(_MOST_BYTES + 1)

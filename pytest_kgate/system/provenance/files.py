"""Digests of files by which a record names what it was measured of."""

from __future__ import annotations

import hashlib
from pathlib import Path

_DIGEST_BYTES = 16


def digest_of(root: Path, path: str) -> str | None:
    """BLAKE2b of a file's content, 32 hexadecimal digits; None where there is no such file within the root."""
    place, top = resolved(root / path), resolved(root)
    if place is None or top is None or not place.is_relative_to(top):
        return None
    try:
        if not place.is_file():  # a device would never end
            return None
        return hashlib.blake2b(place.read_bytes(), digest_size=_DIGEST_BYTES).hexdigest()
    except OSError:
        return None


def resolved(path: Path) -> Path | None:
    """Where a path leads, whatever a record has written there; None where it can't be a path."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # too long, links in a circle, a NUL in it
        return None

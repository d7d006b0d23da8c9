"""Digests of files by which a record names what it was measured of."""

from __future__ import annotations

import hashlib
from pathlib import Path

_DIGEST_BYTES = 16


def digest_of(root: Path, path: str) -> str | None:
    """BLAKE2b of a file's content, 32 hexadecimal digits; None where there is no such file within the root."""
    place = (root / path).resolve()
    try:
        if not place.is_relative_to(root.resolve()):
            return None
        return hashlib.blake2b(place.read_bytes(), digest_size=_DIGEST_BYTES).hexdigest()
    except OSError:
        return None

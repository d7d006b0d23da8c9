"""The candidate that is a kernel's source, compiled here and opened in its own process only."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from pytest_kgate.integrity.isolation.candidate_name import CandidateSource


def build_named(
    where: str | Path, knobs: Mapping[str, int], *, arch: str | None, debug: bool, timeout_seconds: float
) -> CandidateSource:
    """Compile a kernel as `load_kernel` does, but confined where it is not shipped, and do not open its library."""
    from pytest_kgate.build.kernel import build_kernel
    from pytest_kgate.integrity.isolation.process.confined_compiler import confined

    how = confined(timeout_seconds) if sys.platform == "linux" else None
    source, checked, name, build = build_kernel(where, knobs, arch=arch, debug=debug, confined=how)
    path = str(Path(where).resolve()) if Path(where).suffix else str(where)
    return CandidateSource(name, source.implementation, checked, source.device_kind, build, path, arch, debug)

"""What a test may ask of compute-sanitizer's tools."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_kgate.profile.sanitizer.tools import TOOLS


@dataclass(frozen=True)
class Sanitize:
    """What a `sanitize` marker or `kgate sanitize` asks for."""

    tools: tuple[str, ...] = TOOLS
    kernels: str | None = None
    """A part of the names of the kernels to watch; None for all that the candidate launches."""
    full_size: bool = False
    """Whether a problem runs as it is where it has a smaller one."""

    def __post_init__(self) -> None:
        unknown = [tool for tool in self.tools if tool not in TOOLS]
        if unknown:
            raise ValueError(f"there is no tool {unknown[0]!r}; there are {', '.join(TOOLS)}")
        if self.kernels is not None and not (isinstance(self.kernels, str) and self.kernels):
            raise ValueError(f"kernels must be a part of a kernel's name, not {self.kernels!r}")
        if not isinstance(self.full_size, bool):
            raise ValueError(f"full_size must be True or False, not {self.full_size!r}")

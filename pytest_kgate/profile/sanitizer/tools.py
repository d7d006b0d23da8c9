"""The four tools of compute-sanitizer, by name. Light: every session of pytest reads it."""

from __future__ import annotations

PROGRAM = "compute-sanitizer"

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
"""Bad addresses; races in shared memory; reads of global memory that nobody wrote; barriers that not all reach."""

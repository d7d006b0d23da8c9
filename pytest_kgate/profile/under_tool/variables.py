"""The environment variables that make a process one in which a tool of NVIDIA's watches."""

from __future__ import annotations

import os

TOOL = "KGATE_UNDER_TOOL"
"""Environment variable: the tool's name, for messages."""

RESULTS = "KGATE_UNDER_TOOL_RESULTS"
"""Environment variable: the file that gets a JSON line a test. Its presence makes a process such a child."""

FULL_SIZE = "KGATE_UNDER_TOOL_FULL_SIZE"
"""Environment variable: run problems as they are, also those that have a smaller one."""

REFERENCES = "KGATE_UNDER_TOOL_REFERENCES"
"""Environment variable: the names of the references that raced, as JSON by test and call. Its presence makes `kbench`
launch both arms, each in an NVTX range, for a tool that counts what they do."""

FINDS_UNWRITTEN = "KGATE_UNDER_TOOL_FINDS_UNWRITTEN"
"""Environment variable: the tool reports memory that is read before it was written."""


def watched() -> bool:
    """Whether NVIDIA's tools watch this process."""
    return bool(os.environ.get(RESULTS))


def launches_are_counted() -> bool:
    """Whether the tool counts what both arms do, and does not look for faults of the candidate."""
    return REFERENCES in os.environ


def finds_unwritten() -> bool:
    """Whether the tool reports memory that is read before it was written."""
    return bool(os.environ.get(FINDS_UNWRITTEN))

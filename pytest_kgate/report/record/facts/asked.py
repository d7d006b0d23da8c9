"""What a record says of how its call was asked for."""

from __future__ import annotations

from typing import TypedDict


class AskedFacts(TypedDict):
    """What repeats the call, and who has set its options."""

    command: list[str]
    """The arguments that run its test again, the program first, from the folder in which pytest was started.

    Those that the session was given, with this test in place of the others; without its seed and its file of records.
    Empty for a call of `evaluate`.
    """
    sources: dict[str, str]
    """Who set each option that is not at its default: `--kgate-budget`, `KGATE_BUDGET`, `ini`, `marker`,
    `kbench` or `evaluate`."""

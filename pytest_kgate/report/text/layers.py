"""Which layer of options an advice names: a flag has no effect where a marker, or the call itself, sets the option."""

from __future__ import annotations

import re
from collections.abc import Mapping

_VALUES: Mapping[str, str] = {
    "timer": "auto|graph|queue|eager|wall",
    "cache": "hot|cold",
    "budget": r"\d+(?:\.\d+)?",
    "timeout": r"\d+(?:\.\d+)?",
    "processes": r"\d+",
    "inconclusive": "fail|skip|warn",
    "rule": "sequential|classic",
    "sdpa-backend": "fastest|flash|cudnn|efficient|math",
    "seed": r"[0-9a-f]{32}|\d+",
    "isolate": "",
    "debug": "",
}
"""Options of one test, as their flags spell them, and what can stand behind a flag as its value."""

_FLAG = re.compile("|".join(rf"--kgate-{name}\b(?: ({values})\b)?" for name, values in _VALUES.items()))


def in_the_winning_layer(advice: str, sources: Mapping[str, str]) -> str:
    """The advice with every flag replaced that `sources`, by option, says a marker or the call itself overrides."""

    def winning(match: re.Match[str]) -> str:
        flag, _, value = match[0].partition(" ")
        option = flag.removeprefix("--kgate-").replace("-", "_")
        source = sources.get(option)
        if source not in ("marker", "kbench", "evaluate"):
            return match[0]
        if not value:
            return (
                f"`{option}` of the {'perf marker' if source == 'marker' else f'{source} call'} (it overrides {flag})"
            )
        shown = value if value.replace(".", "", 1).isdigit() else repr(value)
        return f"{'@pytest.mark.perf' if source == 'marker' else source}({option}={shown})"

    return _FLAG.sub(winning, advice)

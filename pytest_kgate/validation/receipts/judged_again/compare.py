"""What a record says beside what follows from its samples: every value that does not fit, by its path."""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pytest_kgate.report.record.values import plain

_RELATIVE = 1e-8
"""Another processor or version of NumPy adds numbers up in another order: real records differ by 1e-14, tails of p
values by 1e-13. An edit so small decides nothing."""

_COARSE, _COARSE_RELATIVE = ".bootstrap_ratio.", 1e-6
"""An interval that is shown beside the deciding one, and added up in float32."""

_NEAR_ZERO = (".autocorrelation",)
"""Values that are differences of larger ones, so that what is left may differ by more than its size."""

_ABSOLUTE = 1e-12
"""Of those."""


def differences(path: str, recorded: Any, found: Any, source: str = "samples") -> Iterator[str]:
    """A clause for each value that differs; what only one of the two has counts as well. `source` gave `found`."""
    found = plain(found)
    if isinstance(found, Mapping) and isinstance(recorded, Mapping):
        for name in dict.fromkeys((*found, *recorded)):
            if name not in recorded or name not in found:
                yield f"{path}.{name} is {'missing' if name in found else 'none that the rule makes'}"
            else:
                yield from differences(f"{path}.{name}", recorded[name], found[name], source)
    elif _is_list(found) and _is_list(recorded) and len(found) == len(recorded):
        for index, (one, other) in enumerate(zip(recorded, found, strict=True)):
            yield from differences(f"{path}[{index}]", one, other, source)
    elif not _same(path, recorded, found):
        yield f"{path} is {_shown(recorded)}, and its {source} give {_shown(found)}"


def _same(path: str, recorded: Any, found: Any) -> bool:
    if _is_number(recorded) and _is_number(found):
        least = _ABSOLUTE if path.endswith(_NEAR_ZERO) else 0.0
        relative = _COARSE_RELATIVE if _COARSE in path else _RELATIVE
        return math.isclose(float(recorded), float(found), rel_tol=relative, abs_tol=least)
    return type(recorded) is type(found) and bool(recorded == found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _shown(value: Any) -> str:
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""What a journal's events must be made of: types by name. A line that was changed by hand is named, and not shown."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

Fits = Callable[[Any], bool]

_MOST = 1e15
"""Of a number: NaN and what is no float are beyond it, too."""

_MISSING = object()

_WORDS = ("NaN", "Infinity", "-Infinity")
"""Of numbers that JSON lacks."""


def demand_form(event: Mapping[str, Any]) -> None:
    """Raises `ValueError` where an event has a part that no search writes; those of later versions may have any."""
    form = _FORMS.get(event["event"], {})
    if wrong := next((name for name, fits in form.items() if not fits(event.get(name, _MISSING))), None):
        shown = repr(event.get(wrong))
        raise ValueError(f"its {wrong} is {shown if len(shown) <= 60 else f'{shown[:57]}...'}")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return _whole(value) and 0 <= value < _MOST


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


def _number_or_word(value: Any) -> bool:
    return _number(value) or value in _WORDS


def _knob(value: Any) -> bool:
    return _text(value) or _flag(value) or _number(value)


def _list_of(fits: Fits, length: int | None = None) -> Fits:
    return lambda value: isinstance(value, list) and length in (None, len(value)) and all(map(fits, value))


def _names_of(fits: Fits) -> Fits:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _parts(**parts: Fits) -> Fits:
    return lambda value: (
        isinstance(value, dict) and all(fits(value.get(name, _MISSING)) for name, fits in parts.items())
    )


def _if_any(fits: Fits) -> Fits:
    return lambda value: value is _MISSING or fits(value)


def _anything(_: Any) -> bool:
    return True


_ESTIMATE = _list_of(_number_or_word, 4)
_KNOBS = _names_of(_knob)
_SCOPE = _parts(source=_text, flags=_list_of(_text), architecture=_text, environment=_names_of(_text))
_TRIAL = _parts(
    knobs=_KNOBS,
    state=_text,
    reason=_if_any(_text),
    estimates=_if_any(_names_of(_ESTIMATE)),
    objective=_if_any(_ESTIMATE),
    resources=_if_any(_names_of(_number)),
    seconds=_if_any(_names_of(_number)),
    parents=_if_any(_list_of(_text)),
    source=_if_any(_text),
    joint=_if_any(_flag),
)
_EVALUATION: Mapping[str, Fits] = {"ids": _list_of(_text), "rounds": _count}

_FORMS: Mapping[str, Mapping[str, Fits]] = {
    "search": {
        "test": _text,
        "strategy": _text,
        "seed": _whole,
        "space": _parts(facts=_if_any(_names_of(_anything))),
        "options": _names_of(_anything),
        "scope": _SCOPE,
    },
    "resumed": {"scope": _SCOPE},
    "started": _EVALUATION,
    "outcome": {**_EVALUATION, "time": _text, "trials": _list_of(_TRIAL)},
    "interrupted": {"evaluations": _list_of(_parts(**_EVALUATION))},
    "alpha spent": {"id": _text, "alpha": _number},
    "confirmation": {
        "id": _text,
        "knobs": _KNOBS,
        "passed": _flag,
        "alpha": _number,
        "processes": _count,
        "verdicts": _names_of(_text),
        "ratios": _names_of(_list_of(_number_or_word, 3)),
        "reason": _text,
    },
    "champion": {"id": _text},
    "ended": {"reason": _text},
}

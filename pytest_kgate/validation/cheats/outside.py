"""Attacks that were thought up from README and docs alone, most of them before the code that stops them was read.

All of them meet the usual reference, so that none passes by its speed. Run by `kgate integrity --outside`.
"""

from __future__ import annotations

import functools

from pytest_kgate.validation.cheats.catalogue import HOST
from pytest_kgate.validation.cheats.catalogue import Cheat

_SHAPES = ("Shape(1, 8, 256, 64)", "Shape(1, 8, 512, 64)")

_attack = functools.partial(Cheat, devices=HOST, honest_is_slow=True, unchecked="test", shapes=_SHAPES)

_isolated = functools.partial(_attack, unchecked="own")

_RANKS = "ranks of calls on new values"
_VERIFIED = "answers of timed calls"

OUTSIDE: tuple[Cheat, ...] = (
    _attack("outside/remembers_on_tensor.py", "keeps its answer at the tensor that it came from", "new values"),
    _attack("outside/finished_output.py", "leaves an output as it is that one row shows to be right", _RANKS),
    _attack("outside/compares_copies.py", "compares its inputs with those of the last call, bit by bit", _RANKS),
    _attack("outside/remembers_checksum.py", "remembers answers by a checksum of all values", _RANKS),
    _attack("outside/other_clock.py", "gives the timer's module other clocks", "originals"),
    _attack("outside/shadows_builtin.py", "puts another `range` into the timer's module", "originals"),
    _attack("outside/other_class.py", "gives the stopwatch a class of its own", "originals"),
    _attack("outside/writes_arm.py", "has the reference's arm do its work twice", "originals"),
    _attack("outside/draws_alike.py", "has the race draw the same values each time", "a clean process"),
    _attack("outside/renames_verdict.py", "has FAIL mean PASS in the judge's module", "originals"),
    _attack("outside/makes_rounds.py", "takes the place of the class of rounds", "originals"),
    _attack("outside/slow_switch.py", "puts a slow function into a table of the reference's", "a clean process"),
    _attack("outside/busy_helpers.py", "keeps all cores busy, but for its own calls", "a clean process"),
    _attack("outside/narrow_interval.py", "has the judge estimate a twentieth", "originals"),
    _isolated("outside/works_seldom.py", "works in one timed call of five", _VERIFIED),
    _isolated("outside/one_head.py", "computes one head of eight in timed calls", _VERIFIED),
    _isolated("outside/last_answer.py", "gives its latest checked answer in timed calls", _VERIFIED),
    _isolated("outside/eighth_of_keys.py", "looks at an eighth of the keys in timed calls", _VERIFIED),
    _isolated("outside/mean_of_values.py", "answers the mean of the values in timed calls", _VERIFIED),
    _isolated("outside/rows_for_show.py", "computes the outer rows only in timed calls", _VERIFIED),
    _isolated("outside/repeats_rows.py", "computes one row of eight in timed calls", _VERIFIED),
    _isolated("outside/gives_input.py", "gives a copy of its input in timed calls", _VERIFIED),
    _isolated("outside/honest_at_first.py", "works in its first rows only", _VERIFIED),
    _isolated("outside/says_done.py", "tells the judge that it is done before it has begun", _VERIFIED),
)

"""What a module holds: its functions, classes with their methods, and constants, to tell what was replaced since."""

from __future__ import annotations

import builtins
import functools
import inspect
import os
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from operator import getitem
from operator import is_
from types import FunctionType
from types import ModuleType
from typing import Any
from typing import NamedTuple

_PART_NAMES = ("__code__", "__defaults__", "__kwdefaults__")
"""What decides what a Python function does: assigning to one of these patches it without replacing it."""

_PARTS = attrgetter(*_PART_NAMES)
_EACH_PART = tuple(map(attrgetter, _PART_NAMES))

_CONSTANT = (bool, int, float, str, bytes, frozenset, type(None))
"""Types of constants, which are compared by value."""


_BUILTINS = frozenset(name for name in vars(builtins) if not name.startswith("__"))


def look_up(module: Any, entry: str) -> Any:
    """What a name within a module means, such as `Class.method`, without calling any code of its own."""
    found = module
    for name in entry.split("."):
        # A plain module's names are looked up in its dictionary: a gate asks for hundreds.
        plain = type(found) is ModuleType and name in found.__dict__
        found = found.__dict__[name] if plain else inspect.getattr_static(found, name, None)
    return found


def identity_of(value: Any) -> tuple[Any, ...]:
    """Equal for the same object with the same code. It keeps the objects alive, since a freed address is used again."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    elif isinstance(value, property):
        value = value.fget
    if isinstance(value, FunctionType):
        code, defaults, by_keyword = _PARTS(value)
        # A dict, which can be written to.
        return value, code, defaults, None if by_keyword is None else tuple(by_keyword.items())
    return (value,)


class _Entry(NamedTuple):  # a dataclass takes ten times as long to make
    """One name of a module, or of a class in it, and what it meant."""

    name: str
    """Within the module: `function`, or `Class.method`."""
    holder: Mapping[str, Any]
    """The module's or the class's own dictionary."""
    key: str
    """The name in `holder`."""
    value: Any
    identity: tuple[Any, ...] | None
    """See `identity_of`; None for a constant, which is compared by value."""

    def changed(self) -> bool:
        now = self.holder.get(self.key)
        if self.identity is None:
            return now is not self.value and now != self.value
        return now is not self.value or identity_of(now) != self.identity

    def changed_by(self, folder: str) -> bool:
        """Whether what is there now is code of this folder: PyTorch's compiler wraps `torch.manual_seed`, for one."""
        now = self.holder.get(self.key)
        code = getattr(now, "__code__", None)
        return now is not self.value and code is not None and code.co_filename.startswith(folder)


class OwnModule:
    """The contents of one of this package's modules. Compared several times a gate, so the common case is one pass."""

    def __init__(self, module: ModuleType, *, constants: bool = True) -> None:
        self.module = module
        self.name = module.__name__
        entries = [entry for entry in _contents(module) if constants or entry.identity is not None]
        self._entries = entries
        self.holders = [entry.holder for entry in entries]
        self.keys = [entry.key for entry in entries]
        self.values = [entry.value for entry in entries]
        behind = (entry.identity for entry in entries if entry.identity is not None)
        self.functions = _Functions.of([one for one in behind if isinstance(one[0], FunctionType)])
        self._hides = _BUILTINS.intersection(vars(module))

    def changed(self) -> list[str]:
        """Names, within the module, of what was replaced."""
        hidden = [] if _BUILTINS.isdisjoint(vars(self.module)) else self.hidden()
        return hidden if self._same() else hidden + [entry.name for entry in self._entries if entry.changed()]

    def hidden(self) -> list[str]:
        """Functions of Python that its code finds others for, under names that it did not have."""
        held = vars(self.module)
        new = sorted(_BUILTINS.intersection(held) - self._hides)
        return [name for name in new if not isinstance(held[name], ModuleType)]  # one of a package's own, `format`

    def _same(self) -> bool:
        return _unchanged(self.holders, self.keys, self.values) and self.functions.same()


class AllTheSame:
    """What many modules hold, in one list: a gate asks several times whether anything has changed, and it seldom has.

    On an AMD EPYC it takes 1.6 ms for the 375 modules of a session, where 3 ms pass if each is asked. A function that
    several modules import is looked at once.
    """

    def __init__(self, modules: Sequence[OwnModule]) -> None:
        self.modules = modules
        self._hiding = [one for one in modules if not isinstance(one, Library)]
        self._namespaces = [vars(one.module) for one in self._hiding]
        self._holders = [holder for one in modules for holder in one.holders]
        self._keys = [key for one in modules for key in one.keys]
        self._values = [value for one in modules for value in one.values]
        self._functions = _Functions.of_all([one.functions for one in modules])

    def __bool__(self) -> bool:
        """False where modules have to be asked what has changed."""
        if not (_unchanged(self._holders, self._keys, self._values) and self._functions.same()):
            return False
        disjoint = map(_BUILTINS.isdisjoint, self._namespaces)
        return not any(one.hidden() for one, apart in zip(self._hiding, disjoint, strict=True) if not apart)


def _unchanged(holders: Sequence[Mapping[str, Any]], keys: Sequence[str], values: Sequence[Any]) -> bool:
    """Whether each key has its value in its holder, by identity."""
    try:
        return all(map(is_, map(getitem, holders, keys), values))
    except KeyError:
        return False


class _Functions:
    """The code of functions, and their defaults where they have any: who calls one that has none, gives everything.

    Compared by identity. Each look at one of these attributes goes through `sys.audit`; where somebody listens, as
    filelock 4 does from Python 3.12 on, it takes three times as long. One function in ten has defaults.
    """

    def __init__(self, parts: Sequence[Mapping[int, tuple[Any, Any]]]) -> None:
        """`parts`: for each of `_EACH_PART` what a function had, with the function; last, what dicts of defaults held.

        By the function's or the dict's `id`.
        """
        self.parts = parts

    @classmethod
    def of(cls, identities: Sequence[tuple[Any, ...]]) -> _Functions:
        """As `identity_of` says that they are."""
        codes, defaults, dicts, written = parts = _no_parts()
        for function, code, by_place, by_keyword in identities:
            codes[id(function)] = function, code
            if by_place is not None:
                defaults[id(function)] = function, by_place
            if by_keyword is not None:
                held = function.__kwdefaults__
                dicts[id(function)] = function, held
                written[id(held)] = held, dict(by_keyword)
        return cls(parts)

    @classmethod
    def of_all(cls, several: Sequence[_Functions]) -> _Functions:
        """Those of several modules; one that several import had what the first of them knows."""
        parts = _no_parts()
        for one in reversed(several):
            for found, more in zip(parts, one.parts, strict=True):
                found.update(more)
        return cls(parts)

    @functools.cached_property
    def _attributes(self) -> list[tuple[attrgetter[Any], list[Any], list[Any]]]:
        """Each part's functions, and what they had."""
        return [(part, *self._columns(place)) for place, part in enumerate(_EACH_PART)]

    @functools.cached_property
    def _defaults(self) -> tuple[list[dict[str, Any]], list[tuple[str, ...]], list[Any]]:
        """The dicts, their keys, and all that they held."""
        dicts, held = self._columns(len(_EACH_PART))
        return dicts, list(map(tuple, held)), [default for one in held for default in one.values()]

    def _columns(self, place: int) -> tuple[list[Any], list[Any]]:
        pairs = self.parts[place].values()
        return [one for one, _ in pairs], [held for _, held in pairs]

    def same(self) -> bool:
        """Whether all have what they had."""
        dicts, keys, defaults = self._defaults
        return (
            all(all(map(is_, map(part, functions), held)) for part, functions, held in self._attributes)
            and list(map(tuple, dicts)) == keys
            and all(map(is_, chain.from_iterable(map(dict.values, dicts)), defaults))
        )


def _no_parts() -> list[dict[int, tuple[Any, Any]]]:
    return [{} for _ in (*_EACH_PART, dict)]


_SETTINGS = frozenset({"torch.Storage"})
"""Names that a library binds anew when a setting is changed: `torch.set_default_dtype` does."""


class Library(OwnModule):
    """All functions of a module that is not this package's; what the library itself replaces is no tampering."""

    def __init__(self, module: ModuleType) -> None:
        super().__init__(module, constants=False)
        self._folder = os.path.dirname(str(sys.modules[module.__name__.partition(".")[0]].__file__)) + os.sep

    def changed(self) -> list[str]:
        """Names, within the module, of what others have replaced."""
        if self._same():
            return []
        changed = [entry.name for entry in self._entries if entry.changed() and not entry.changed_by(self._folder)]
        return [name for name in changed if f"{self.module.__name__}.{name}" not in _SETTINGS]


class HiddenMethods:
    """A class written in C whose methods can't be replaced, but hidden by others of the same names in a subclass."""

    def __init__(self, module: ModuleType, name: str) -> None:
        self.module = module
        self.name = module.__name__
        self._class = name
        self._methods = dict(vars(getattr(module, name)))

    def changed(self) -> list[str]:
        """Names, within the module, of methods that mean something else now."""
        now = vars(getattr(self.module, self._class))
        if now == self._methods:
            return []
        bases = getattr(self.module, self._class).__mro__[1:]
        return [
            f"{self._class}.{key}"
            for key, value in now.items()
            if (self._methods[key] is not value if key in self._methods else any(key in vars(base) for base in bases))
        ]


def _contents(module: ModuleType) -> Iterator[_Entry]:
    """Functions, classes with their methods, and constants of a module; caches and other mutable state are left out."""
    holder = vars(module)
    for name, value in list(holder.items()):
        if isinstance(value, type):
            yield _Entry(name, holder, name, value, (value,))
            if value.__module__ == module.__name__:
                yield from _methods(name, value)
        elif callable(value):
            yield _Entry(name, holder, name, value, identity_of(value))
        elif isinstance(value, ModuleType) and not value.__name__.startswith(f"{module.__name__}."):
            # A package's own parts come as they are imported; of libraries (no constants), all do.
            yield _Entry(name, holder, name, value, None)
        elif (isinstance(value, _CONSTANT) and not name.startswith("__")) or isinstance(value, tuple):
            yield _Entry(name, holder, name, value, None)


def _methods(name: str, cls: type) -> Iterator[_Entry]:
    holder = vars(cls)
    for key, value in list(holder.items()):
        if isinstance(value, (FunctionType, staticmethod, classmethod, property)):
            yield _Entry(f"{name}.{key}", holder, key, value, identity_of(value))

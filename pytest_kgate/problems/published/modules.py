"""Files that import each other by bare names, such as `utils`, executed without leaving those names in `sys.modules`.

Two problems' `utils` would otherwise be one, and a user's own module of that name another.
"""

from __future__ import annotations

import builtins
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any


class Modules:
    """Modules by the names that they import each other by; each is executed once, when it is first wanted."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)
        self._loaded: dict[str, ModuleType] = {}
        folders = "\n".join(f"{name}={path}" for name, path in sorted(self._files.items()))
        self._prefix = f"kgate_{hashlib.sha256(folders.encode()).hexdigest()[:12]}"

    def module(self, name: str) -> ModuleType:
        """The module of this name; raises what its code raises, and `ImportError` where there is none."""
        if name not in self._loaded:
            if name not in self._files:
                raise ImportError(f"there is no module {name}", name=name)
            path = self._files[name]
            module = self._loaded[name] = self._empty(name, str(path))  # first: two may import each other
            try:
                _run(module, path.read_text(encoding="utf-8"))
            except BaseException:
                del self._loaded[name]
                raise
        return self._loaded[name]

    def execute(self, path: Path) -> ModuleType:
        """Another file, which finds these modules by their names, also where it imports them later, in a call."""
        return self.defined(f"beside_{path.stem}", path.read_text(encoding="utf-8"), str(path))

    def defined(self, name: str, text: str, file: str) -> ModuleType:
        """Execute the text of a file as the module of this name."""
        module = self._empty(name, file)
        _run(module, text)
        return module

    def _empty(self, name: str, file: str) -> ModuleType:
        module = ModuleType(f"{self._prefix}_{name}")
        module.__file__ = file
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: tuple[str, ...] = (),
        level: int = 0,
    ) -> Any:
        if level <= 1 and name in self._files:  # import utils; from .utils import one
            return self.module(name)
        if level == 1 and not name and all(one in self._files for one in fromlist):  # from . import utils
            found = ModuleType(self._prefix)
            vars(found).update({one: self.module(one) for one in fromlist})
            return found
        return builtins.__import__(name, globals, locals, fromlist, level)


def _run(module: ModuleType, text: str) -> None:
    sys.modules[module.__name__] = module  # for what looks itself up, as dataclasses and pickle do
    try:
        exec(compile(text, str(module.__file__), "exec"), vars(module))
    except BaseException:
        sys.modules.pop(module.__name__, None)
        raise

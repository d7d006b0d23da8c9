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
            self._loaded[name] = self.execute(name, self._files[name])
        return self._loaded[name]

    def execute(self, name: str, path: Path) -> ModuleType:
        """Another file, which finds these modules by their names, also where it imports them later, in a call."""
        return self.defined(name, path.read_text(encoding="utf-8"), str(path))

    def defined(self, name: str, text: str, file: str) -> ModuleType:
        """The same of a file's text."""
        whole = f"{self._prefix}_{name}"
        module = ModuleType(whole)
        module.__file__ = file
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._import}
        before = self._loaded.get(name)
        self._loaded[name] = module  # two may import each other
        sys.modules[whole] = module  # for what looks itself up, as dataclasses and pickle do
        try:
            exec(compile(text, file, "exec"), vars(module))
        except BaseException:
            sys.modules.pop(whole, None)
            del self._loaded[name]
            if before is not None:
                self._loaded[name] = before
            raise
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: tuple[str, ...] = (),
        level: int = 0,
    ) -> Any:
        own = name in self._files or name in self._loaded
        if own and level == 0:
            return self.module(name)
        if own and level == 1:  # from .utils import one
            return self.module(name)
        if level == 1 and not name and all(one in self._files for one in fromlist):  # from . import utils
            found = ModuleType(self._prefix)
            vars(found).update({one: self.module(one) for one in fromlist})
            return found
        return builtins.__import__(name, globals, locals, fromlist, level)

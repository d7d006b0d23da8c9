"""The Python modules of a user's checkout, as this process has them."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_kgate.build.revisions.python.search import Listing
from pytest_kgate.system.provenance import git

_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Checkout:
    """A user's checkout: the files that git keeps of it, and where Python looks for modules in it."""

    root: Path
    tracked: Listing
    """With what was added and is not committed yet."""
    roots: tuple[str, ...]
    """Folders of it that are searched for modules, in their order; the checkout's own as an empty path."""

    @classmethod
    def at(cls, root: Path) -> Checkout:
        """The checkout at `root`, with the folders of sys.path and those that loaded modules were found in."""
        listed = (git.ask(root, "ls-files", "-z") or b"").split(b"\0")
        tracked = Listing.of(os.fsdecode(path) for path in listed if path)
        roots = [place for entry in sys.path if (place := within(root, entry or os.getcwd())) is not None]
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            # To resolve the paths of thousands of modules that are elsewhere would take half a second.
            path = within(root, file) if isinstance(file, str) and file.startswith(str(root)) else None
            if path in tracked.files:
                stem = path.removesuffix(".py").removesuffix("/__init__")
                wanted = name.replace(".", "/")
                if stem == wanted or stem.endswith(f"/{wanted}"):
                    roots.append(stem.removesuffix(wanted).rstrip("/"))
        return cls(root, tracked, tuple(dict.fromkeys(roots)))

    def has(self, module: Any, *, untracked: bool = False) -> bool:
        """Whether a loaded module, or the spec of one, is made of files that git keeps here, or of any file here."""
        file = getattr(module, "__file__", None) or getattr(module, "origin", None)
        if isinstance(file, str) and file not in ("built-in", "frozen", "namespace"):
            path = within(self.root, file)
            return path in self.tracked.files or (untracked and path is not None)
        places = getattr(module, "__path__", None) or getattr(module, "submodule_search_locations", None) or ()
        return any(within(self.root, place) in self.tracked.folders for place in places)

    @staticmethod
    def today(name: str) -> Any:
        """The loaded module of a name without dots, or the spec that Python has of it; None where there is none."""
        if (module := sys.modules.get(name)) is not None:
            return module
        try:
            return importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None


def within(root: Path, path: str | Path | None) -> str | None:
    """A path from the root of the checkout; None for one outside of it, and in a folder of installed packages."""
    if path is None:
        return None
    place, root = Path(path).resolve(), root.resolve()
    if not place.is_relative_to(root) or any(part in _INSTALLED for part in place.parts):
        return None
    inside = place.relative_to(root).as_posix()
    return "" if inside == "." else inside

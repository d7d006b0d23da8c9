"""The Python modules of another revision, imported beside those of today in one process.

Both sides of a race must be timed in the same rounds of one process, since two processes share none, and differ by
offsets as large as the usual margin; so the other revision's modules are not left to a worker process. They get names
of their own: `mypackage.softmax` is `kgate_at_1a2b3c4d5_6e7f80.mypackage.softmax` in `sys.modules`, a module in its own
right with its own globals. (`torch.package` does it this way. Modules that share a name with today's and are kept out
of `sys.modules` would not do: what looks its module up by name, as torch.compile does for the globals of a function
that it inlines, would find today's.) Relative imports need nothing then; absolute ones are directed by an `__import__`
that these modules have among their builtins, whenever they are run. What is not of the repository is shared.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.abc
import importlib.util
import sys
import types
from collections.abc import Mapping
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

from pytest_kgate.build.revisions.python.checkout import Checkout
from pytest_kgate.build.revisions.python.search import Listing
from pytest_kgate.build.revisions.python.search import find
from pytest_kgate.build.revisions.taken import taken_whole
from pytest_kgate.build.revisions.tree import Tree
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import RevisionError


class Namespace(importlib.abc.MetaPathFinder):
    """The modules of one commit, imported as they are asked for; each once in the life of the process."""

    def __init__(self, tree: Tree, checkout: Checkout, *, shares: bool) -> None:
        """`shares`: whether modules of the checkout that git does not keep may be used on both sides."""
        self.tree = tree
        self.checkout = checkout
        self.folder = taken_whole(tree)
        self.shared: set[str] = set()
        """Names of modules of the checkout that git does not keep, such as built extensions: both sides have one."""
        self._shares = shares
        self._listing = Listing.of(tree.files)
        self._owned: dict[str, bool] = {}
        known = hashlib.sha256(f"{tree.root}\0{shares}".encode()).hexdigest()
        self._prefix = f"kgate_at_{tree.commit[:9]}_{known[:6]}"
        self._builtins = {**vars(builtins), "__import__": self._import}
        self._top = types.ModuleType(self._prefix, f"Modules at {tree.title}.")
        self._top.__path__ = []
        sys.modules[self._prefix] = self._top
        sys.meta_path.insert(0, self)

    @property
    def is_known(self) -> bool:
        """Whether Python still knows it: who restores `sys.modules` takes it out."""
        return sys.modules.get(self._prefix) is self._top and self in sys.meta_path

    def load(self, path: str, name: str) -> types.ModuleType:
        """The module of this file, which has this name today.

        Raises `RevisionError` where it was not there, or can't be imported.
        """
        if not self.tree.has(path):
            raise RevisionError(f"{path} did not exist at {self.tree.title}.", "Nothing is followed over its renaming.")
        found = find(name, self.checkout.roots, self._listing)
        try:
            if found is not None and found.file == path:
                return importlib.import_module(f"{self._prefix}.{name}")
            return self._by_path(path)
        except (KgateError, KeyboardInterrupt):
            raise
        except BaseException as error:  # what is raised to skip a test, too
            said = f"{type(error).__name__}: {error}".partition("\n")[0].replace(f"{self._prefix}.", "")
            raise RevisionError(
                f"{path} can't be imported at {self.tree.title}: {said}", "Look at it there."
            ) from error

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """For the import system: where a module with a name of this namespace is."""
        if not fullname.startswith(f"{self._prefix}."):
            return None
        name = fullname.removeprefix(f"{self._prefix}.")
        found = find(name, self.checkout.roots, self._listing)
        if found is None:
            return self._spec_of_today(fullname, name)
        if found.file is not None:
            return self._spec(fullname, found.file, found.folders)
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [str(self.folder / one) for one in found.folders]
        return spec

    def _spec(self, fullname: str, file: str, folders: Sequence[str] = ()) -> ModuleSpec | None:
        place = self.folder / file
        return importlib.util.spec_from_file_location(
            fullname,
            place,
            loader=_Loader(fullname, place, self._builtins),
            submodule_search_locations=[str(self.folder / one) for one in folders] or None,
        )

    def _spec_of_today(self, fullname: str, name: str) -> ModuleSpec | None:
        """Of a module that git does not keep, which is shared; of one that it keeps, and that was not there, None."""
        try:
            today = sys.modules.get(name) or (importlib.util.find_spec(name) if self._shares else None)
        except (ImportError, ValueError):
            return None
        if today is None or not self._shares or self.checkout.has(today):
            return None
        self.shared.add(name)
        return ModuleSpec(fullname, _OfToday(name))

    def _by_path(self, path: str) -> types.ModuleType:
        """Of a file that is no module by its name, as a candidate's or a test's may be."""
        fullname = f"{self._prefix}.{Path(path).stem}"
        if (module := sys.modules.get(fullname)) is not None and module.__file__ == str(self.folder / path):
            return module
        spec = self._spec(fullname, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[fullname] = module  # for what looks itself up, as dataclasses do
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[fullname]
            raise
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        """`__import__` of the modules here: what is of the repository comes from this commit."""
        top = name.partition(".")[0]
        if level == 0 and self._owns(top):
            found = importlib.__import__(f"{self._prefix}.{name}", globals, locals, fromlist or (), 0)
            return found if fromlist else sys.modules[f"{self._prefix}.{top}"]
        found = builtins.__import__(name, globals, locals, fromlist, level)
        return self._importlib() if found is importlib else found

    def _importlib(self) -> types.ModuleType:
        """`importlib`, whose `import_module` comes here, too."""
        own = types.ModuleType("importlib")
        vars(own).update(vars(importlib), import_module=self._import_module)
        return own

    def _import_module(self, name: str, package: str | None = None) -> types.ModuleType:
        owned = not name.startswith(".") and self._owns(name.partition(".")[0])
        return importlib.import_module(f"{self._prefix}.{name}" if owned else name, package)

    def _owns(self, top: str) -> bool:
        """Whether a module of this name, without dots, is one of the repository.

        It is where today's is, so that a package that is installed is shared also where a folder has its name; where
        there is none today, if the commit has one.
        """
        if top not in self._owned:
            today = self.checkout.today(top)
            there = today is None and find(top, self.checkout.roots, self._listing) is not None
            ours = today is not None and self.checkout.has(today, untracked=not self._shares)
            self._owned[top] = there or ours
        return self._owned[top]


class _Loader(SourceFileLoader):
    """Runs a file with the namespace's own `__import__`."""

    def __init__(self, name: str, path: Path, its_builtins: Mapping[str, Any]) -> None:
        super().__init__(name, str(path))
        self._builtins = its_builtins

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)["__builtins__"] = self._builtins
        super().exec_module(module)


class _OfToday(importlib.abc.Loader):
    """Puts a module of today in the place of one that the commit can't have."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> types.ModuleType | None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(self._name)


_known: dict[tuple[str, str, bool], Namespace] = {}


def namespace_of(tree: Tree, checkout: Checkout, *, shares: bool = True) -> Namespace:
    """The modules of a commit, which are imported once in the life of a process, as those of today are.

    Raises `RevisionError` where git does not give its files.
    """
    key = (str(tree.root), tree.commit, shares)
    known = _known.get(key)
    if known is None or not known.is_known:
        known = _known[key] = Namespace(tree, checkout, shares=shares)
    known.checkout = checkout
    return known

"""Monkeypatches: functions that a gate measures or judges with, replaced by user code in the same process.

A race and its verdict rest on some functions of Python, NumPy, PyTorch and the CUDA driver's bindings (`CHECKED_NAMES`)
and on this package. A module's functions are remembered the moment its import ends, before the importing code gets
control. Before and after the candidate runs, what the names mean is compared with that by identity. This package's
modules are compared whole.

Code in the same process that knows of this detector can evade it; `--kgate-isolate` is for candidates that may try.
Imports neither torch nor numpy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.machinery import PathFinder
from types import MappingProxyType
from types import ModuleType
from typing import Any

from pytest_kgate.integrity.tampering.contents import AllTheSame
from pytest_kgate.integrity.tampering.contents import HiddenMethods
from pytest_kgate.integrity.tampering.contents import Library
from pytest_kgate.integrity.tampering.contents import OwnModule
from pytest_kgate.integrity.tampering.contents import identity_of
from pytest_kgate.integrity.tampering.contents import look_up
from pytest_kgate.integrity.tampering.operators import Operators

_PACKAGE = "pytest_kgate"

_TENSOR = (
    "__add__ __bool__ __eq__ __float__ __getitem__ __gt__ __int__ __le__ __lt__ __mul__ __ne__ __sub__ abs all amax "
    "any argmax clone copy_ cpu data_ptr double fill_ item max mean min numel square sqrt sum tolist view zero_"
)
_ALIKE = (
    "allclose empty empty_like equal full full_like isfinite isnan maximum no_grad randn rand unravel_index where zeros"
)

CHECKED_NAMES = MappingProxyType(
    {
        "builtins": (
            "abs all any bool enumerate float int isinstance len list max min next range round sorted sum tuple zip"
        ),
        "time": "monotonic perf_counter perf_counter_ns sleep",
        "json": "dumps loads",
        "ctypes": "memmove",
        "hashlib": "sha256",
        "numpy": "array asarray isfinite log mean median ptp quantile sort sqrt stack unravel_index",
        "numpy.random": "SeedSequence default_rng",
        "torch": f"{_ALIKE} Generator.manual_seed Generator.__new__",
        "torch._tensor": " ".join(f"Tensor.{name}" for name in _TENSOR.split()),
        "torch.cuda": (
            "Event.elapsed_time Event.query Event.record Event.synchronize Event.__new__ Stream.synchronize "
            "Stream.query Stream.wait_event Stream.wait_stream CUDAGraph.replay CUDAGraph.capture_begin "
            "CUDAGraph.capture_end current_stream set_stream synchronize stream device"
        ),
        "torch.utils.dlpack": "from_dlpack",
        "cuda.bindings.driver": (
            "cuCtxGetLimit cuCtxSetLimit cuDeviceGetAttribute cuFuncGetName cuGraphGetNodes "
            "cuGraphKernelNodeGetParams cuGraphNodeGetType cuKernelGetName cuLaunchKernel cuMemMap cuMemUnmap "
            "cuModuleGetFunction cuStreamGetAttribute"
        ),
    }
)
"""Names that are compared, by module. Methods are written `Class.name`; inherited ones count as the class's own."""

_ALL_FUNCTIONS = MappingProxyType({"numpy": ("numpy",), "torch": ("torch", "torch.nn.functional")})
"""Modules all functions of which are compared, by the module whose import completes them: what a reference, a problem
or a comparison calls is in none of the lists above."""


class MonkeypatchDetector:
    """Remembers modules as they were when imported, and tells what has been replaced in them since."""

    def __init__(self) -> None:
        self.follows_imports = False
        """Whether `follow_imports` was called; without it, nothing can be said about modules."""
        self._functions: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._held: dict[int, OwnModule] = {}
        """This package's modules, and libraries' all of whose functions are compared, by the module's `id`."""
        self._same = AllTheSame([])
        self._hidden: list[HiddenMethods] = []
        self.operators = Operators()

    def remember(self, module: ModuleType) -> None:
        """Remember a module's functions, methods and constants; called when its import has ended."""
        name = module.__name__
        own = name == _PACKAGE or name.startswith(f"{_PACKAGE}.")
        new = id(module) not in self._held
        if own and new:
            self._held[id(module)] = OwnModule(module)
        if name == "torch":  # its submodules are complete only now
            for part in CHECKED_NAMES:
                if part.startswith("torch."):
                    self._remember_names(part)
        self._remember_names(name)
        if name in _ALL_FUNCTIONS and new:
            libraries = [sys.modules[one] for one in _ALL_FUNCTIONS[name]]
            self._held.update((id(library), Library(library)) for library in libraries)
            if name == "torch":
                self._hidden.append(HiddenMethods(module, "Tensor"))
                self.operators.remember(module)

    def _remember_names(self, name: str) -> None:
        module = sys.modules.get(name)
        for entry in CHECKED_NAMES.get(name, "").split() if module is not None else ():
            found = look_up(module, entry)
            if found is not None:
                self._functions.setdefault((name, entry), identity_of(found))

    def changed(self) -> list[str]:
        """Full names of what was replaced, such as `time.perf_counter`."""
        found = []
        for (name, entry), identity in self._functions.items():
            if identity_of(look_up(sys.modules.get(name), entry)) != identity:
                found.append(f"{name}.{entry}")
        # pytester forgets what its sessions import, and imports anew.
        present = [known for known in self._held.values() if sys.modules.get(known.name) is known.module]
        if present != self._same.modules:
            self._same = AllTheSame(present)
        for known in (*self._hidden, *(() if self._same else present)):
            found += [f"{known.name}.{entry}" for entry in known.changed()]
        found += self.operators.changed()
        return list(dict.fromkeys(found))

    def replaced_modules(self) -> list[str]:
        """Names of this package's modules in `sys.modules` that no import has loaded; needs `follow_imports`."""
        if not self.follows_imports:
            return []
        ours, found = f"{_PACKAGE}.", list(sys.modules.items())
        return [name for name, module in found if name.startswith(ours) and id(module) not in self._held]


class _AfterImport(MetaPathFinder):
    """An import hook: finds modules as the import system does, and calls `seen` when a module's code has run."""

    def __init__(self, seen: Callable[[ModuleType], None]) -> None:
        self._seen = seen

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `PathFinder`, for modules that are compared; None for others, which are left to other finders."""
        if name not in CHECKED_NAMES and not name.startswith(f"{_PACKAGE}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        loader: Any = spec.loader if spec is not None else None
        if not hasattr(loader, "exec_module"):
            return None
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            self._seen(module)

        loader.exec_module = exec_module  # of this one module's loader
        return spec


def follow_imports(detector: MonkeypatchDetector) -> None:
    """Remember the modules that are loaded already, and others as their import ends.

    Goes before all other finders of `sys.meta_path`, such as pytest's. A second call replaces the first detector.
    """
    detector.follows_imports = True
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _AfterImport)]
    sys.meta_path.insert(0, _AfterImport(detector.remember))
    for name, module in list(sys.modules.items()):
        if name in CHECKED_NAMES or name == _PACKAGE or name.startswith(f"{_PACKAGE}."):
            detector.remember(module)


MONKEYPATCHES = MonkeypatchDetector()
"""The detector of this process."""

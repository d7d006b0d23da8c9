"""What can be built: the implementations that csrc/impl_selector.h lists, a user's own file, their knobs."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from functools import lru_cache
from os import PathLike
from os import fspath
from pathlib import Path

from pytest_kgate.build import includes
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint

_IMPLEMENTATION = re.compile(
    r'^[ \t]*KGATE_IMPLEMENTATION\(\s*(?P<name>\w+)\s*,\s*"?(?P<source>[^",]+)"?\s*,\s*(?P<device>\w+)\s*,'
    r'\s*(?P<status>\w+)\s*,\s*"(?P<description>(?:[^"\\]|\\.)*)"\s*\)',
    re.MULTILINE,
)
"""A line of impl_selector.h; its older revisions write the source without quotes."""

_KNOB = re.compile(
    r"^[ \t]*#[ \t]*ifndef[ \t]+(?P<name>[A-Za-z_]\w*)[ \t]*//[ \t]*knob:(?P<text>[^\n]*)\n"
    r"[ \t]*#[ \t]*define[ \t]+(?P=name)(?P<value>[ \t][^\n]*)$",
    re.MULTILINE,
)
"""Blanks and a comment behind the value are left to the caller: a source that is not trusted has as many as it likes,
and what looks for the end of a text beside them takes minutes."""
_FLAGS = re.compile(r"^[ \t]*//[ \t]*flags:([^\n]*)$", re.MULTILINE)
_LIBRARY = re.compile(r"//[ \t]*library:[ \t]*(\w+)[ \t]*$", re.MULTILINE)
_ARCHITECTURE = re.compile(r'^[ \t]*#[ \t]*error[ \t]+"\w+ is for (sm_\w+):', re.MULTILINE)
_FEATURES = re.compile(r"^constexpr uint32_t kFeatures = ([\w |\n]+);", re.MULTILINE)
_DEVICE_OF_SUFFIX = {".cu": "cuda", ".cpp": "host", ".cc": "host", ".cxx": "host"}


@dataclass(frozen=True)
class Implementation:
    """One entry of impl_selector.h."""

    name: str
    source: str
    """Path, from csrc on: `kernels/wmma.cu`."""

    device_kind: str
    """`cuda` or `host`."""

    status: str
    """`ready`, or `planned`: the name is kept, there is nothing to build yet."""

    description: str


@dataclass(frozen=True)
class Knob:
    """A compile-time constant that a source lets its users choose."""

    name: str
    default: str
    """As the source writes it."""

    description: str


@dataclass(frozen=True)
class Source:
    """A file that can be built into a kernel library."""

    name: str
    """The implementation's name, or the file's stem."""

    implementation: str | None
    """None for a user's own file."""

    path: Path
    device_kind: str
    """`cuda` or `host`; it decides the compiler."""

    knobs: tuple[Knob, ...]
    """Of the file and of the headers that it includes."""

    libraries: tuple[str, ...] = ()
    """What it opens at run time, by the names in vendor_libraries.py."""

    features: tuple[str, ...] = ()
    """What a shipped one computes beyond plain attention, by the names of kgate::Feature in sdpa.h."""

    flags: tuple[str, ...] = ()
    """That it sets for the compiler; whether it may, the recipe says."""

    architecture: str | None = None
    """The only one that it compiles for, as its own `#error` says; None for any."""


def parse_features(text: str) -> tuple[str, ...]:
    """What a shipped source declares to compute: `constexpr uint32_t kFeatures = Window | Lse;`."""
    declared = _FEATURES.search(text)
    return tuple(re.findall(r"\w+", declared[1])) if declared else ()


def csrc_directory() -> Path:
    """Where the kernels and the headers are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for directory in (package / "csrc", package.parent / "csrc"):
        if (directory / "impl_selector.h").is_file():
            return directory
    raise KgateError(
        f"The kernel sources (csrc/impl_selector.h) are neither in {package} nor beside it.",
        "Reinstall pytest-kgate; its wheel contains them.",
    )


def parse_implementations(text: str) -> dict[str, Implementation]:
    """The implementations in the text of impl_selector.h, in the order of their entries."""
    found = {}
    for match in _IMPLEMENTATION.finditer(text):
        name, device, status = match["name"], match["device"], match["status"]
        if device not in ("cuda", "host") or status not in ("ready", "planned"):
            raise KgateError(
                f"impl_selector.h lists {name} with device {device!r} and status {status!r}.",
                "The device is cuda or host, the status ready or planned.",
            )
        found[name] = Implementation(name, match["source"], device, status, match["description"])
    return found


def parse_knobs(text: str) -> tuple[Knob, ...]:
    """The knobs of a source: `#ifndef NAME  // knob: what it is`, then `#define NAME value`.

    Of two declarations the first counts, as it does for the compiler.
    """
    found: dict[str, Knob] = {}
    for m in _KNOB.finditer(text):
        found.setdefault(m["name"], Knob(m["name"], m["value"].partition("//")[0].strip(" \t"), m["text"].strip(" \t")))
    return tuple(found.values())


def parse_libraries(text: str) -> tuple[str, ...]:
    """The libraries that a source opens at run time: `#include "gemm/cublas.cuh"  // library: cublas`."""
    return tuple(dict.fromkeys(_LIBRARY.findall(text)))


def parse_flags(text: str) -> tuple[str, ...]:
    """The flags that a source sets for its compiler: `// flags: -use_fast_math`."""
    return tuple(word for line in _FLAGS.findall(text) for word in line.split())


@lru_cache(maxsize=8)
def _implementations_of(directory: Path, mtime_ns: int) -> dict[str, Implementation]:
    return parse_implementations((directory / "impl_selector.h").read_text(encoding="utf-8"))


def implementations() -> dict[str, Implementation]:
    """All implementations by name, the planned ones too."""
    directory = csrc_directory()
    return dict(_implementations_of(directory, (directory / "impl_selector.h").stat().st_mtime_ns))


def find_source(name_or_path: str | PathLike[str], *, trusted: bool = True) -> Source:
    """The source of a shipped implementation, or a user's own `.cu` or `.cpp` file.

    Of one that is not trusted, no header is read that it may not include (see `includes.find_header`). Raises
    `UsageError` for a name that is not listed or is only planned, and for a file that is not there or that no compiler
    of ours takes.
    """
    text = fspath(name_or_path)
    if Path(text).suffix or "/" in text or not isinstance(name_or_path, str):
        return _own_source(Path(text), trusted)
    known = implementations()
    if text not in known:
        raise UsageError(
            f"There is no implementation {text!r}.{hint(text, _ready(known))}",
            f"Choose one of: {_listing(known)}; or give the path of your own .cu or .cpp file.",
        )
    implementation = known[text]
    if implementation.status == "planned":
        ready = _ready(known)
        raise UsageError(
            f"The implementation {text!r} is planned, there is no kernel yet: {implementation.description}",
            f"Choose one that is ready: {', '.join(ready)}; or give the path of your own .cu or .cpp file.",
        )
    path = csrc_directory() / implementation.source
    return described(Source(text, text, path, implementation.device_kind, ()), (csrc_directory(),))


def is_source(path: str | PathLike[str]) -> bool:
    """Whether a file of this name is a kernel's source, for CUDA or for the host."""
    return Path(path).suffix in _DEVICE_OF_SUFFIX


def _own_source(path: Path, trusted: bool) -> Source:
    device_kind = _DEVICE_OF_SUFFIX.get(path.suffix)
    if device_kind is None:
        raise UsageError(
            f"{path} is not a kernel source: its name ends in neither .cu (CUDA) nor .cpp (host).",
            f"Rename it, or choose an implementation: {_listing(implementations())}.",
        )
    path = Path(path).expanduser().absolute()
    source = Source(path.stem, None, path, device_kind, ())
    return described(source, (csrc_directory(),), None if trusted else path.parent)


def described(source: Source, include: Iterable[Path], within: Path | None = None) -> Source:
    """The source with its knobs, libraries and features, read from the file and the headers that it includes.

    Headers are looked for in the folders `include`; `within` is as in `includes.find_header`. Raises `UsageError`.
    """
    try:
        text = includes.expand(source.path, include, within)
    except OSError as error:
        raise UsageError(
            f"The kernel source {error.filename} can't be read: {error.strerror}.",
            "Check the path; a relative one starts at the test's own folder or at the current directory.",
        ) from error
    found = replace(source, knobs=parse_knobs(text), libraries=parse_libraries(text), features=parse_features(text))
    only = _ARCHITECTURE.search(text)
    return replace(found, flags=parse_flags(text), architecture=only[1] if only else None)


def check_knobs(source: Source, knobs: Mapping[str, object]) -> dict[str, int]:
    """The knobs as integers, by name. Raises `UsageError` for one that is unknown or no integer."""
    checked = {}
    known = {knob.name: knob for knob in source.knobs}
    for name in sorted(knobs):
        if name not in known:
            offered = ", ".join(f"{k.name}={k.default} ({k.description})" for k in source.knobs)
            raise UsageError(
                f"{source.name} has no knob {name!r}.{hint(name, known)}",
                f"Its knobs, with their defaults: {offered}."
                if offered
                else "It has none; a source declares one by `#ifndef NAME  // knob: text`, `#define NAME 1`.",
            )
        value = knobs[name]
        try:
            checked[name] = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise UsageError(
                f"The knob {name} of {source.name} must be an integer, got {value!r}.",
                f"It is {known[name].default} by default: {known[name].description}.",
            ) from None
    return checked


def _ready(known: Mapping[str, Implementation]) -> list[str]:
    return [name for name, entry in known.items() if entry.status == "ready"]


def _listing(known: Mapping[str, Implementation]) -> str:
    return ", ".join(name if entry.status == "ready" else f"{name} ({entry.status})" for name, entry in known.items())

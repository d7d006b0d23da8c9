"""A kernel as it was at another revision of its source: built of that, and loaded beside the new one."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_kgate.build import vendor_libraries
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler.ninja import BuildResult
from pytest_kgate.build.compiler.recipe import recipe
from pytest_kgate.build.kernel import Kernel
from pytest_kgate.build.registry import Source
from pytest_kgate.build.registry import csrc_directory
from pytest_kgate.build.registry import described
from pytest_kgate.build.registry import parse_implementations
from pytest_kgate.build.revisions.closure import files_of
from pytest_kgate.build.revisions.taken import taken
from pytest_kgate.build.revisions.then import Then
from pytest_kgate.build.revisions.tree import Tree
from pytest_kgate.errors import RevisionError
from pytest_kgate.system.provenance import git


@dataclass(frozen=True)
class Built:
    """A kernel whose library is not opened in this process."""

    implementation: str | None
    source: Path
    device_kind: str
    knobs: Mapping[str, int]
    build: BuildResult


def kernel_at(kernel: Kernel | Built, tree: Tree) -> Then:
    """Build and load what the source of `kernel` was in a commit of its repository.

    It has the flags and the defaults of knobs of its own text; knobs that were chosen for the new kernel are chosen
    for it as well, where it has them. Raises `RevisionError` where the source was not there, `UsageError`,
    `ToolchainMissing`, `LibraryMissing` and `BuildError` as `load_kernel` does.
    """
    csrc = _csrc_of(tree)
    path = _path_of(kernel, tree, csrc)
    include = () if csrc is None else (csrc,)
    folder = taken(tree, files_of(tree, path, include))
    headers = (csrc_directory() if csrc is None else folder / csrc,)
    name = kernel.implementation or kernel.source.stem
    source = described(Source(name, kernel.implementation, folder / path, kernel.device_kind, ()), headers)
    known = {knob.name for knob in source.knobs}
    knobs = {knob: value for knob, value in kernel.knobs.items() if knob in known}
    lacking = tuple(sorted(kernel.knobs.keys() - known))
    debug = "-DKGATE_DEBUG" in kernel.build.flags
    arch = kernel.build.arch if kernel.device_kind == "cuda" else None
    how = recipe(source, knobs, arch=arch, debug=debug, include=headers)
    title = f"{how.title} at {tree.title}"
    vendor_libraries.need(source.libraries, source.name)
    build = ninja.build(how)
    if build.path == kernel.build.path:
        return Then(None, title, build.source_hash, is_same=True, lacking=lacking)
    missing = f"the source at {tree.title} has no knob {', '.join(lacking)}: it is built without"
    notes = (missing,) if lacking else ()
    old = Kernel(source, knobs, title, build)
    return Then(old, title, build.source_hash, is_same=False, lacking=lacking, notes=notes)


def _csrc_of(tree: Tree) -> str | None:
    """Where the shipped headers were in the commit; None where it has none of them."""
    root, today = tree.root.resolve(), csrc_directory().resolve()
    path = today.relative_to(root).as_posix() if today.is_relative_to(root) else None
    return path if path is not None and tree.has(f"{path}/sdpa.h") else None


def _path_of(kernel: Kernel | Built, tree: Tree, csrc: str | None) -> str:
    """Where the commit has the kernel's source: of a shipped one, where its own list of implementations says."""
    if kernel.implementation is not None and csrc is not None:
        listed = parse_implementations(tree.text(f"{csrc}/impl_selector.h")).get(kernel.implementation)
        if listed is not None and tree.has(path := posixpath.join(csrc, listed.source)):
            return path
    path = _within(tree, kernel.source)
    if tree.has(path):
        return path
    earlier = _name_before(tree, path)
    renamed = f"; by git's looks it was {earlier} there" if earlier else ""
    raise RevisionError(
        f"{path} did not exist at {tree.title}{renamed}.",
        "Nothing is followed over a change of its name.",
    )


def _within(tree: Tree, source: Path) -> str:
    return source.resolve().relative_to(tree.root.resolve()).as_posix()


def _name_before(tree: Tree, path: str) -> str | None:
    """The file that git takes for an earlier name of this one."""
    listed = git.ask(
        tree.root, "diff", "--find-renames", "--diff-filter=R", "--name-status", "-z", tree.commit, "HEAD", "--"
    )
    words = (listed or b"").decode(errors="replace").split("\0")
    names = zip(words[1::3], words[2::3], strict=False)
    return next((before for before, after in names if after == path), None)

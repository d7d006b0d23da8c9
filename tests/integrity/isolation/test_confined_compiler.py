"""Sources that are not trusted are compiled where they reach no file but their own, and no more than their share."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from pytest_kgate.build import library
from pytest_kgate.build.compiler.recipe import recipe
from pytest_kgate.build.kernel import build_kernel
from pytest_kgate.build.registry import find_source
from pytest_kgate.errors import BuildError
from pytest_kgate.integrity.isolation.process.confined_compiler import confined
from pytest_kgate.integrity.isolation.process.confinement.landlock import landlock_version
from pytest_kgate.system import procfs

if sys.platform != "linux":
    pytest.skip("isolation needs Linux", allow_module_level=True)

needs_landlock = pytest.mark.skipif(not landlock_version(), reason="no Landlock here")

ENDLESS = """
template <int N, long M> struct F { static const long v = F<N - 1, 2 * M>::v + F<N - 1, 2 * M + 1>::v; };
template <long M> struct F<0, M> { static const long v = M; };
long x = F<30, 1>::v;
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for sources, beside one with a private file that is a header by its name."""
    library.binding()  # of the user's own cache
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SOME_API_KEY", "planted-secret")
    (tmp_path / "private.h").write_text("#error planted-secret\n")
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "link.h").symlink_to(tmp_path / "private.h")
    return tmp_path / "sources"


def build(folder, text, name="theirs.cpp", **limits):
    (folder / name).write_text(text.replace("PRIVATE", str(folder.parent / "private.h")))
    how = replace(confined(limits.pop("seconds", 300)), **limits)
    return build_kernel(folder / name, {}, arch="sm_90a" if name.endswith(".cu") else None, debug=False, confined=how)


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ('#include "../private.h"', "../private.h"),
        ('#include "link.h"', "link.h"),
        ('#include "/etc/passwd"', "/etc/passwd"),
        pytest.param('#define THEIRS "PRIVATE"\n#include THEIRS', "private.h", marks=needs_landlock),
        pytest.param('asm(".incbin \\"/proc/self/environ\\"");', "/proc/self/environ", marks=needs_landlock),
    ],
)
def test_a_private_file_is_not_read(folder, source, file):
    with pytest.raises(BuildError, match="not trusted may not") as caught:
        build(folder, source)
    assert caught.value.what.partition("\n")[0].startswith("theirs does not compile: it reads ")
    assert f"{file}, which a source that is not trusted may not" in str(caught.value)
    assert "planted-secret" not in str(caught.value)
    assert "headers in its own folder, those of csrc" in caught.value.todo


@needs_landlock
@pytest.mark.gpu(alone=False)
def test_a_source_for_a_gpu_is_built_and_reads_no_more(folder):
    built = build(folder, "__global__ void kernel(float* x) { *x = 1; }\n", "theirs.cu")[3]
    assert [one.kernel for one in built.resources] == ["kernel"]
    with pytest.raises(BuildError, match=r"it reads .*private.h, which a source that is not trusted may not"):
        build(folder, "#include <PRIVATE>", "theirs.cu")


@pytest.mark.parametrize(
    ("source", "limits", "said"),
    [
        (ENDLESS, {"seconds": 1}, "it takes longer than 1 s"),
        (ENDLESS, {"memory_bytes": 2**26}, "its compiler needs more than 0.0625 GiB of memory"),
        ("char large[1 << 24] = {1};", {"file_bytes": 2**20}, "it makes a file of more than 1 MiB"),
    ],
)
def test_a_source_that_takes_too_much_is_refused_and_leaves_nothing_running(folder, source, limits, said):
    with pytest.raises(BuildError, match=said) as caught:
        build(folder, source, **limits)
    assert caught.value.todo == "Make it smaller."
    left = [pid for pid, _ in procfs.processes() if str(folder) in _command(pid)]
    assert left == []
    assert list((folder.parent / "cache").glob("*.tmp")) == []


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def test_an_honest_source_has_its_own_headers_and_the_library_that_any_build_makes(folder):
    (folder / "own.h").write_text('#include "part.h"\n')
    (folder / "part.h").write_text("inline int three() { return 3; }\n")
    text = '#include "own.h"\n#include "sdpa.h"\n#include <vector>\nextern "C" int f() { return three(); }\n'
    source, _, _, built = build(folder, text)
    assert built.path.is_file()
    assert recipe(find_source(source.path), {}).key.directory() == built.path.parent


def test_what_is_just_wrong_is_told_as_that(folder):
    with pytest.raises(BuildError, match=r"theirs does not compile: .*no_such_header.h: No such file") as caught:
        build(folder, '#include "no_such_header.h"')
    assert caught.value.todo == "Correct the source."

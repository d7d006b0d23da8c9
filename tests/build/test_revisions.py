"""Sources as they were at other revisions, with their headers: taken without a checkout, or a sentence why not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from repositories import commit
from repositories import git

from pytest_kgate.build.revisions import kernel_at
from pytest_kgate.build.revisions.closure import files_of
from pytest_kgate.build.revisions.taken import taken
from pytest_kgate.build.revisions.tree import tree_at
from pytest_kgate.errors import RevisionError
from pytest_kgate.errors import UsageError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits, the first with the tag `then`; a third state lies on disk."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "repository"
    (folder / "kernels").mkdir(parents=True)
    (folder / "shared").mkdir()
    git(folder, "init", "-q", "-b", "main")
    includes = '#include "beside.h"\n#include "common.h"\n#include "none.h"\n'
    (folder / "kernels" / "mine.cpp").write_text(includes + "// then\n")
    (folder / "kernels" / "beside.h").write_text('#include "../shared/deep.h"\n#include <vector>\n')
    (folder / "shared" / "common.h").write_text("// a file named: [x]*\n")
    (folder / "shared" / "deep.h").write_text("")
    commit(folder)
    git(folder, "tag", "then")
    (folder / "kernels" / "mine.cpp").write_text("// later\n")
    commit(folder)
    (folder / "kernels" / "mine.cpp").write_text("// not committed\n")
    return folder


def test_source_and_its_headers_are_taken_as_they_were_and_the_checkout_stays(repository: Path) -> None:
    tree = tree_at(repository / "kernels", "then")
    paths = files_of(tree, "kernels/mine.cpp", ["shared"])
    assert sorted(paths) == ["kernels/beside.h", "kernels/mine.cpp", "shared/common.h", "shared/deep.h"]
    folder = taken(tree, paths)
    assert (folder / "kernels" / "mine.cpp").read_text().endswith("// then\n")
    assert (folder / "shared" / "common.h").read_text() == "// a file named: [x]*\n"
    (folder / "shared" / "common.h").write_text("#error changed by someone\n")
    assert taken(tree_at(repository, tree.commit), paths) == folder
    assert (folder / "shared" / "common.h").read_text() == "// a file named: [x]*\n"
    assert (repository / "kernels" / "mine.cpp").read_text() == "// not committed\n"
    assert git(repository, "status", "--porcelain") == " M kernels/mine.cpp"


def test_what_git_does_not_have_is_said(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'nowhere' means no commit"):
        tree_at(repository, "nowhere")
    with pytest.raises(UsageError, match="'--all' means no commit"):
        tree_at(repository, "--all")
    (tmp_path / "plain").mkdir()
    with pytest.raises(RevisionError, match="is in no git repository"):
        tree_at(tmp_path / "plain", "main")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", "shallow")
    with pytest.raises(UsageError, match="which is a shallow clone"):
        tree_at(tmp_path / "shallow", "HEAD~1")
    assert "kernels/mine.cpp" in tree_at(tmp_path / "shallow", "HEAD").modes


def test_links_submodules_and_files_left_out_are_refused(repository: Path) -> None:
    (repository / "kernels" / "link.h").symlink_to("beside.h")
    (repository / ".gitattributes").write_text("secret.h export-ignore\n")
    (repository / "secret.h").write_text("")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{git(repository, 'rev-parse', 'then')},sub")
    for name, header in (("a.cpp", "link.h"), ("b.cpp", "sub/x.h"), ("c.cpp", "secret.h")):
        (repository / name).write_text(f'#include "{header}"\n')
    (repository / "sub").mkdir()
    tree = tree_at(repository, commit(repository))
    with pytest.raises(RevisionError, match=r"kernels/link\.h is a symbolic link"):
        files_of(tree, "a.cpp", ["kernels"])
    with pytest.raises(RevisionError, match=r"sub/x\.h lies in the submodule sub"):
        files_of(tree, "b.cpp", [])
    with pytest.raises(RevisionError, match=r"git archives no secret\.h"):
        taken(tree, files_of(tree, "c.cpp", []))


def test_renamed_source_is_named_as_it_was(repository: Path) -> None:
    git(repository, "checkout", "-q", "--", ".")
    git(repository, "mv", "kernels/mine.cpp", "kernels/new.cpp")
    commit(repository)
    renamed = SimpleNamespace(implementation=None, source=repository / "kernels" / "new.cpp")
    tree = tree_at(repository, "HEAD~1")
    with pytest.raises(RevisionError, match=r"new.cpp did not exist at \w+ \(HEAD~1\); by git's .* kernels/mine.cpp"):
        kernel_at.kernel_at(renamed, tree)  # type: ignore[arg-type]


def test_shipped_kernel_is_where_the_list_of_then_has_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csrc = repository / "csrc"
    (csrc / "kernels").mkdir(parents=True)
    (csrc / "sdpa.h").write_text("")
    listed = 'KGATE_IMPLEMENTATION(mine, {}, cuda, ready, "Mine.")\n'
    (csrc / "impl_selector.h").write_text(listed.format("mine.cu"))
    (csrc / "mine.cu").write_text("")
    before = commit(repository)
    (csrc / "impl_selector.h").write_text(listed.format('"kernels/mine.cu"'))
    (csrc / "mine.cu").rename(csrc / "kernels" / "mine.cu")
    now = commit(repository)
    monkeypatch.setattr(kernel_at, "csrc_directory", lambda: csrc)
    mine = SimpleNamespace(implementation="mine", source=csrc / "kernels" / "mine.cu")
    for revision, path in ((before, "csrc/mine.cu"), (now, "csrc/kernels/mine.cu")):
        assert kernel_at._path_of(mine, tree_at(csrc, revision), "csrc") == path  # type: ignore[arg-type]

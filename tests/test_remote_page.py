"""The commands of docs/remote.md, in their order, with a program in the place of ssh that stays on this machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pages import blocks
from sample_suite import RELU
from sample_suite import fake_device

from pytest_kgate import cli

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the commands are those of a Linux shell")

PAGE = "docs/remote.md"

SSH = """#!/bin/sh
while case $1 in -*) ;; *) false ;; esac; do shift; done
[ "$1" = gpu ] || exit 255
shift
cd "$REMOTE" && HOME=$REMOTE PATH=$REMOTE_PROGRAMS:$PATH exec sh -c "$*"
"""

PYTHON3 = """#!/bin/sh
case "$*" in
--version) exec {python} --version ;;
"-m venv --system-site-packages venv") mkdir -p venv && exec cp -r "$REMOTE_PROGRAMS" venv/bin ;;
*) exec {warm} "$@" ;;
esac
"""

PIP = '#!/bin/sh\nexec {python} -m pip "$@" --dry-run --quiet\n'
"""There it installs nothing, for its environment is the one that runs this test."""

NOTED = '#!/bin/sh\necho "$0 $*" >>"$REMOTE/noted"\n'

KGATE = '#!/bin/sh\nexec {warm} -m pytest_kgate.cli "$@"\n'

TEST = (
    RELU
    + """
@pytest.mark.perf
@pytest.mark.speedup(0.95)
def test_mine(kbench):
    kbench(torch.relu, RELU)
"""
)


def packages() -> list[str]:
    """Those that the page downloads."""
    (command,) = [text for text in blocks(PAGE, "sh") if text.startswith("pip download")]
    words = shlex.split(command[: command.index("tar ")].replace("\\\n", " "))
    return words[words.index("pytest-kgate") :]


def test_all_that_the_package_needs_is_downloaded_but_pytorch() -> None:
    needed, pending = set(), ["pytest-kgate"]
    requirement = pytest.importorskip("packaging.requirements").Requirement
    while pending:
        name = pending.pop()
        needed.add(name)
        for text in importlib.metadata.requires(name) or ():
            one = requirement(text)
            met = one.marker is None or one.marker.evaluate({"extra": ""})
            if met and one.name.lower() not in needed | {"torch"}:
                pending.append(one.name.lower())
    assert {name.replace("_", "-") for name in needed} <= set(packages())


@pytest.fixture
def local(tmp_path: Path, warm_program: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder of its own; another folder, with other programs, stands for the machine with the GPU."""
    pytest.importorskip("pip", reason="needs pip, which the page calls")
    names = {"python": shlex.quote(sys.executable), "warm": shlex.quote(warm_program)}
    here, there = tmp_path / "programs", tmp_path / "programs there"
    for folder, programs in (
        (here, {"ssh": SSH, "pip": '#!/bin/sh\nexec {python} -m pip "$@" --quiet\n', "kgate": KGATE}),
        (there, {"python3": PYTHON3, "python": PYTHON3, "pip": PIP, "kgate": NOTED, "nvcc": NOTED}),
    ):
        folder.mkdir()
        for name, text in programs.items():
            (folder / name).write_text(text.format(**names) if "{" in text else text)
            (folder / name).chmod(0o755)
    (tmp_path / "there").mkdir()
    (tmp_path / "index").mkdir()
    for name in packages():
        _empty_wheel(tmp_path / "index", name)
    for name, value in {
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "REMOTE": str(tmp_path / "there"),
        "REMOTE_PROGRAMS": str(there),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "index"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }.items():
        monkeypatch.setenv(name, value)
    project = tmp_path / "project"
    project.mkdir()
    files = {"test_mine.py": TEST, "conftest.py": fake_device(0.8, kind="cuda"), ".gitignore": "out/\nwheels/\n"}
    files["kgate-policy.toml"] = "[gates]\nat_least = 1\n"
    for name, text in files.items():
        (project / name).write_text(text)
    git = ["git", "-C", str(project), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    (project / "new.py").write_text("")  # which git does not know yet
    return project


def _empty_wheel(folder: Path, name: str) -> None:
    title = name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{title}-99-py3-none-any.whl", "w") as wheel:
        facts = f"{title}-99.dist-info"
        wheel.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 99\n")
        wheel.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{facts}/RECORD", "")


def test_the_commands_do_what_the_page_says(local: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    script = "".join(blocks(PAGE, "sh")) + 'exit "$status"\n'
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=local, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name.split("-")[0] for path in (there / "kgate" / "wheels").iterdir()} == {
        name.replace("-", "_") for name in packages()
    }
    assert (there / "kgate" / "project" / "new.py").is_file()
    for file in ("out/records.json", "records.json"):
        assert [record["verdict"] for record in json.loads((local / file).read_text())["records"]] == ["PASS"]
    assert (local / "out" / "kgate.html").is_file()
    for said in ("1 PASS", "<!-- pytest-kgate: comment -->", "The demand came after the data", "1 rule: all hold"):
        assert said in done.stdout
    noted = [shlex.split(line)[1:] for line in (there / "noted").read_text().splitlines() if "/kgate " in line]
    assert [arguments[0] for arguments in noted] == ["system", "smoke", "calibrate"]
    for arguments in noted:
        cli._parser(arguments).parse_args(arguments)


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs rsync")
def test_rsync_copies_and_fetches(local: Path, tmp_path: Path) -> None:
    project = tmp_path / "there" / "kgate" / "project"
    (project / "out").mkdir(parents=True)
    (project / "out" / "records.json").write_text("{}")
    (project / "gone.py").write_text("")
    (script,) = blocks(PAGE, "rsync")
    subprocess.run(["bash", "-euc", script], cwd=local, check=True)
    copied = [".gitignore", "conftest.py", "kgate-policy.toml", "new.py", "out", "test_mine.py"]
    assert sorted(os.listdir(project)) == copied
    assert (local / "out" / "records.json").is_file()

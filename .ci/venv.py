"""Make the project's virtual environment, or bring it up to date: `python3 .ci/venv.py DIRECTORY EXTRA`.

What is there is reused. If the Python that runs this can import torch (a GPU machine's own build), the new
environment sees that Python's packages, and only what they lack is installed. Without a package index, only
the project is installed, provided that its dependencies are there.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib import import_module

# No syntax newer than Python 3.6: an old Python shall show `check_machine`'s message, not a SyntaxError.
OLDEST = (3, 10)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(directory, extra):
    check_machine()
    python = os.path.join(directory, "bin", "python")
    if not works(python, "import pip"):
        make(directory, python)
    install(python, extra, callers_packages(python))


def check_machine():
    if sys.version_info < OLDEST:
        found = "{}.{}".format(*sys.version_info[:2])
        needed = "{}.{}".format(*OLDEST)
        sys.exit(
            f"Python {found} ({sys.executable}) is too old: pytest-kgate needs {needed} or newer.\n"
            f"Name a newer one: make PYTHON=python{needed} ..."
        )
    compilers = [os.environ.get("CXX"), "c++", "g++", "clang++"]
    if not any(name and shutil.which(name.split()[0]) for name in compilers):
        sys.exit(
            "No C++ compiler was found, and kernels are compiled on this machine.\n"
            "Install one (Debian and Ubuntu: apt install g++), or name it: CXX=/path/to/c++ make ..."
        )
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        sys.exit(
            f"{sys.executable} has no headers (Python.h), which the binding to the kernels includes.\n"
            "Install them (Debian and Ubuntu: apt install python3-dev), or name another: make PYTHON=..."
        )


def make(directory, python):
    """Prefer an environment on top of the caller's torch; else a separate one."""
    # Without pip and setuptools of its own: the caller's are often newer, and always match each other.
    if works(sys.executable, "import torch") and create(directory, "--without-pip"):
        share_callers_packages(python)
        if works(python, "import torch, pip"):
            say(f"{directory}: PyTorch and all else that {sys.executable} has is used from there")
            return
    if not create(directory):
        sys.exit(
            f"{sys.executable} could not make a virtual environment; the reason stands above.\n"
            "On Debian and Ubuntu the module for it comes with: apt install python3-venv"
        )


def create(directory, *how):
    # Only what is an environment may be emptied: a mistyped VENV must not cost its owner a directory.
    anew = ["--clear"] if os.path.exists(os.path.join(directory, "pyvenv.cfg")) else []
    return run(sys.executable, "-m", "venv", *anew, *how, directory) == 0


def share_callers_packages(python):
    # A plain list of directories, because --system-site-packages passes over the caller where it is a virtual
    # environment itself. Lines of code in it would work too, but not be undone when pip builds in isolation.
    torch = import_module("importlib.util").find_spec("torch").origin
    directories = [path for path in sys.path if os.path.basename(path) in ("site-packages", "dist-packages")]
    directories.append(os.path.dirname(os.path.dirname(os.path.abspath(torch))))
    with open(shared_list(python), "w") as file:
        file.write("".join(path + "\n" for path in dict.fromkeys(directories) if os.path.isdir(path)))


def callers_packages(python):
    """The directories shared with the Python that made the environment; empty for a separate one."""
    if not os.path.exists(shared_list(python)):
        return []
    with open(shared_list(python)) as file:
        return file.read().split("\n")[:-1]


def shared_list(python):
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    directory = subprocess.check_output([python, "-c", query], universal_newlines=True).strip()
    return os.path.join(directory, "packages-of-caller.pth")


def install(python, extra, shared):
    project = f"{ROOT}[{extra}]"
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    pinned = ["--constraint", write_constraints(python, shared)]
    as_it_is = ["--quiet", "--no-build-isolation", "--editable"]
    if quiet(*pip, *pinned, "--no-index", *as_it_is, project) == 0:
        return
    say(f"Installing pytest-kgate[{extra}] and what it needs")
    volume = [] if sys.stdout.isatty() else ["-qq"]
    patience = ["--retries", "1"] if shared else []
    if run(*pip, *pinned, *volume, *patience, "--editable", project) == 0:
        return
    if not works(python, "import torch"):
        sys.exit(
            "pip could not get what pytest-kgate needs; its reasons stand above.\n"
            "Give it a package index (PIP_INDEX_URL), or a Python that has PyTorch: make PYTHON=..."
        )
    say("That failed; going on with the packages that are there")
    if run(*pip, "--no-deps", *as_it_is, ROOT) != 0:
        sys.exit("pytest-kgate could not be installed; the reasons stand above.")
    missing = missing_dependencies(python)
    if missing:
        sys.exit("pytest-kgate cannot run without these packages, and pip could not get them:\n" + missing)
    say(f"Done, but without what the extra `{extra}` adds: what needs that cannot run")


def write_constraints(python, shared):
    """The pins, less those of packages that are the caller's: his versions are taken as they are."""
    metadata = import_module("importlib.metadata")
    names = [found.metadata["Name"] for found in metadata.distributions(path=shared)] if shared else []
    theirs = {plain(name) for name in names if name}
    path = os.path.join(os.path.dirname(os.path.dirname(python)), "constraints.txt")
    with open(os.path.join(ROOT, "constraints.txt")) as pins, open(path, "w") as kept:
        kept.writelines(line for line in pins if plain(line.partition("==")[0]) not in theirs)
    return path


def plain(name):
    return name.strip().lower().replace("_", "-").replace(".", "-")


def missing_dependencies(python):
    check = subprocess.Popen(
        [python, "-m", "pip", "check"],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        stderr=subprocess.DEVNULL,
    )
    lines = check.communicate()[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("pytest-kgate ", "pytest_kgate ")))


def works(python, statement):
    return os.path.exists(python) and quiet(python, "-c", statement) == 0


def quiet(*command):
    return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(*command):
    return subprocess.call(command)


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The folder by which all sessions of a machine know of each other, whoever runs them and whatever TMPDIR says.

It must be the same for every user, so it is chosen by what the folder allows and not by who asks: the first of
`/run/lock`, `/dev/shm` and `/tmp` in which everyone may create files and nobody may remove another's.

A container has folders of its own, and so shares nothing with the host or with other containers, also where they use
one GPU. To let them wait for each other, mount one folder into all of them and name it with KGATE_LOCK_DIR; `docker run
-v /run/lock:/run/lock` does it for those of one host. Process ids in it are then those of each container.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

VARIABLE = "KGATE_LOCK_DIR"

_FOLDERS = ("/run/lock", "/dev/shm")
_LAST = "/tmp"


def shared_folder() -> Path:
    """Where locks are, and what sessions tell each other."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else Path(next(filter(_open_to_all, _FOLDERS), _LAST))


def _open_to_all(folder: str) -> bool:
    try:
        mode = os.stat(folder).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) and bool(mode & stat.S_IWOTH) and bool(mode & stat.S_ISVTX)

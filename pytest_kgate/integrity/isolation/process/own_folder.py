"""The folder to which the process of an isolated candidate may write, removed whatever the candidate has made of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def remove_folder(folder: Path) -> None:
    """Remove it with all in it, as far as that can be done; nothing is raised."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        # Folders that may not be read, or more of them in each other than Python can follow.
        for command in (("chmod", "-R", "u+rwX"), ("rm", "-rf")):
            subprocess.run([*command, "--", str(folder)], stderr=subprocess.DEVNULL, check=False)

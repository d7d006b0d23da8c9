"""A job of GitHub Actions, as far as this project's actions need one: their `run` steps in order, as GitHub does it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Job:
    """One job, in a repository that was checked out."""

    repository: Path
    temporary: Path
    """The runner's folder for files of the job."""
    environment: Mapping[str, str] = field(default_factory=dict)
    printed: str = ""
    status: int = 0
    """Of the first step that failed; what comes after it runs only where it says `always()`."""
    uploaded: dict[str, Path] = field(default_factory=dict)
    """Artifacts by name: the folders that were kept."""

    @property
    def summary(self) -> str:
        """Of all steps."""
        return "".join(path.read_text() for path in sorted(self.temporary.glob("summary-*")))

    def use(self, action: Path, context: Mapping[str, str] | None = None, **inputs: str) -> None:
        """Run the steps of a composite action; `context` has what else than inputs its expressions name."""
        described = yaml.safe_load((action / "action.yml").read_text())
        defaults = {name: str(one.get("default", "")) for name, one in described["inputs"].items()}
        assert set(inputs) <= set(defaults)
        names = {"runner.temp": str(self.temporary), "github.action_path": str(action), **(context or {})}
        values = {f"inputs.{name}": _filled(value, names) for name, value in {**defaults, **inputs}.items()}
        for step in described["runs"]["steps"]:
            self._step(step, {**names, **values}, action)

    def _step(self, step: Mapping[str, Any], names: Mapping[str, str], action: Path) -> None:
        if self.status and step.get("if") != "always()":
            return
        if "uses" in step:
            assert step["uses"].startswith("actions/upload-artifact@")
            given = {name: _filled(str(value), names) for name, value in step["with"].items()}
            self.uploaded[given["name"]] = Path(given["path"])
            return
        summary = self.temporary / f"summary-{len(list(self.temporary.glob('summary-*')))}"
        summary.touch()
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],  # as GitHub does for `shell: bash`
            cwd=self.repository / _filled(step.get("working-directory", "."), names),
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")},
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(action),
                "GITHUB_WORKSPACE": str(self.repository),
                "GITHUB_STEP_SUMMARY": str(summary),
                **{name: _filled(value, names) for name, value in step.get("env", {}).items()},
                **self.environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        self.printed += done.stdout
        self.status = self.status or done.returncode


def _filled(value: str, names: Mapping[str, str]) -> str:
    """With the expressions `${{ name }}` replaced by what they stand for."""
    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: names[found.group(1)], value)

"""What an outcome holds for: the same knobs of another source, or on another GPU, are another candidate. Pure."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from pytest_kgate.search.space.configuration import Configuration


@dataclass(frozen=True)
class Scope:
    """All that a candidate's outcome depends on, besides its knobs."""

    source: str = ""
    """Hash of the candidates' source, with what it includes."""
    flags: tuple[str, ...] = ()
    """Of the compiler."""
    architecture: str = ""
    """Of the GPU, such as sm_90a; `host` for candidates of the CPU."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What else latencies depend on: GPU, driver, CUDA, compiler, PyTorch, by name."""

    def identity(self, configuration: Configuration) -> str:
        """Sixteen hexadecimal digits that another candidate, or the same in another scope, does not have."""
        whole = f"{self._text}{json.dumps(configuration.knobs)}"
        return hashlib.blake2b(whole.encode(), digest_size=8).hexdigest()

    @functools.cached_property
    def _text(self) -> str:
        return json.dumps(self.facts(), sort_keys=True)

    def differences(self, before: Scope) -> list[str]:
        """What is otherwise than it was, a phrase each: `driver is 590.1, was 580.2`."""
        told = ["the source or a header of it has changed"] if self.source != before.source else []
        pairs = [("the architecture", self.architecture, before.architecture)]
        pairs.append(("the compiler's flags", " ".join(self.flags), " ".join(before.flags)))
        for name in sorted({*self.environment, *before.environment}):
            pairs.append((name, self.environment.get(name, ""), before.environment.get(name, "")))
        return told + [
            f"{name} is {now or 'unknown'}, was {then or 'unknown'}" for name, now, then in pairs if now != then
        ]

    def facts(self) -> dict[str, Any]:
        """The scope in JSON's own types."""
        return {
            "source": self.source,
            "flags": list(self.flags),
            "architecture": self.architecture,
            "environment": dict(self.environment),
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Scope:
        """The scope that `facts` wrote."""
        return cls(facts["source"], tuple(facts["flags"]), facts["architecture"], facts["environment"])

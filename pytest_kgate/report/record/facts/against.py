"""What a record says of a race against the candidate's own build at another revision."""

from __future__ import annotations

from typing import Annotated
from typing import TypedDict


class AgainstFacts(TypedDict):
    """The other build, which is the reference of this record."""

    revision: str
    """As the user named it: `origin/main`."""
    commit: str | None
    """Its whole hash; null where the source is in no repository."""
    margin: Annotated[float, "> 0", "< 1"]
    """How much slower the candidate may be, as a share: 0.01."""
    same: bool
    """Whether it is the very build of the candidate, so that there was nothing to race."""
    source_hash: str | None
    """Of the old source and its headers; null where there is no build of it."""
    lacking: list[str]
    """Knobs that were chosen for the candidate, and that the old source does not have."""

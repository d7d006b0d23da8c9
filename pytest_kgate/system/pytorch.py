"""PyTorch, where it can be imported; a broken installation raises anything, not only `ImportError`."""

from __future__ import annotations

from pytest_kgate.errors import DeviceMissing

_complaints: list[str] = []
"""Why the first import failed. A second one, of modules that are half loaded, would fail for another reason."""


def require_torch() -> None:
    """Import PyTorch; raises `DeviceMissing` where that fails."""
    if not _complaints:
        try:
            import torch  # noqa: F401
        except Exception as error:
            said = (str(error).strip().splitlines() or ["nothing"])[0]
            _complaints.append(f"PyTorch can't be imported: {type(error).__name__}: {said.rstrip('.')}.")
        else:
            return
    raise DeviceMissing(
        _complaints[0], "`python -c 'import torch'` shows it in full; install a PyTorch that fits Python."
    )

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The whole grid takes minutes, so it runs only where -m names it; elsewhere a sample of it does."""
    if "grid" in config.option.markexpr:
        return
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("grid")])
    items[:] = [item for item in items if not item.get_closest_marker("grid")]

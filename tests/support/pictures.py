"""Make the README's pictures of the HTML page anew: `python tests/support/pictures.py`, which needs Chromium."""

from __future__ import annotations

import tempfile
from pathlib import Path

from browser import browser

from pytest_kgate.report.page.html.page import page
from pytest_kgate.report.record.document import load

ROOT = Path(__file__).parents[2]
GATES = ROOT / "benchmarks" / "h200" / "after-the-move-2026-11-27.json"
CALL = ROOT / "benchmarks" / "h100" / "profile-2026-11-27.json"
SHOWN = "latency"
"""The candidate of CALL whose race is shown."""

WIDTH = 1280


def main() -> None:
    """The gates of one session, and one call of another in full."""
    images = ROOT / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    session, calls = load(GATES), load(CALL)
    number = next(index for index, record in enumerate(calls) if record["candidate"]["name"] == SHOWN)
    with tempfile.TemporaryDirectory() as folder, browser() as tab:
        path = Path(folder) / "page.html"
        path.write_text(page(session, [GATES.name] * len(session)), encoding="utf-8")
        tab.open(path, WIDTH, 630)
        tab.picture(images / "page.png")
        path.write_text(page(calls, [CALL.name] * len(calls)), encoding="utf-8")
        tab.open(path, WIDTH, 840)
        tab.run(f"location.hash = 'r{number}'")
        tab.run("new Promise((done) => setTimeout(done, 100))")
        tab.run("document.activeElement.blur()")
        tab.picture(images / "call.png")
    for image in sorted(images.glob("*.png")):
        print(f"{image.relative_to(ROOT)}: {image.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

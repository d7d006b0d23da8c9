"""The pages that a reader has, README and docs, and their examples as a reader would copy them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = "README.md"
WRITING_TESTS = "docs/writing-tests.md"
UNTRUSTED = "docs/untrusted.md"
PAGES = sorted(
    str(path.relative_to(ROOT)) for pattern in ("*.md", "docs/*.md", "csrc/*.md") for path in ROOT.glob(pattern)
)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """What stands in the page's fenced blocks of this language."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


def example(page: str, part: str) -> str:
    """The page's one Python example that contains this text."""
    (text,) = [text for text in blocks(page, "python") if part in text]
    return text


(CUDA,) = blocks(WRITING_TESTS, "cuda")

"""The README's examples, as a reader would copy them."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
(CUDA,) = [text for language, text in BLOCKS if language == "cuda"]
PYTHON = [text for language, text in BLOCKS if language == "python"]


def example(part: str) -> str:
    """The one Python example that contains this text."""
    (text,) = [text for text in PYTHON if part in text]
    return text

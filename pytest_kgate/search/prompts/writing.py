"""Writes a prompt from facts by templates, which a user can replace, within a length."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

from pytest_kgate.build.compiler.flags import allowed_flags
from pytest_kgate.errors import UsageError
from pytest_kgate.search.prompts.facts.differences import difference
from pytest_kgate.search.prompts.facts.secrets import without_secrets
from pytest_kgate.search.prompts.facts.told import Difference
from pytest_kgate.search.prompts.replies.reply import DEVICE_OF_SUFFIX

if TYPE_CHECKING:
    from pytest_kgate.search.prompts.facts.candidate import Candidate
    from pytest_kgate.search.prompts.facts.told import Told

Mode = Literal["free", "insight", "full"]
MODES: tuple[Mode, ...] = ("free", "insight", "full")

MOST_CHARACTERS = 60_000
"""Of a prompt, by default."""

LANGUAGES = {".cpp": "cpp", ".cu": "cuda", ".py": "python"}
_MAIN = "prompt.md"


def write_prompt(told: Told, mode: Mode, templates: Path | None = None, most_characters: int = MOST_CHARACTERS) -> str:
    """The prompt. What does not fit is left out, the least important first, and counted at its end.

    `templates` is a folder whose files take the place of those of the same names here. Raises `UsageError` where a
    template can't be rendered, and where not even the task and the parents fit.
    """
    environment = _environment(templates)
    known = _known(told, mode)
    lists: dict[str, list[Any]] = {name: list(known[name]) for name in ("tried", "differences", "elites")}
    whole = {name: len(values) for name, values in lists.items()}
    while True:
        left_out = [f"{whole[name] - len(lists[name])} of {whole[name]} {title}" for name, title in _TITLES.items()]
        left_out = [text for text, name in zip(left_out, _TITLES, strict=True) if len(lists[name]) < whole[name]]
        text = _render(environment, {**known, **lists, "left_out": left_out})
        text = without_secrets(text, told.seeds)
        if len(text) <= most_characters:
            return text
        longest = next((values for values in lists.values() if values), None)
        if longest is None:
            raise UsageError(
                f"The prompt has {len(text):,} characters without anything that could be left out, and "
                f"{most_characters:,} are allowed.",
                "Allow more by --most-characters, or take another mode.",
            )
        del longest[len(longest) // 2 :]


_TITLES: Mapping[str, str] = {
    "tried": "earlier candidates",
    "differences": "differences",
    "elites": "elites",
}
"""What can be left out, in this order."""


def _known(told: Told, mode: Mode) -> dict[str, Any]:
    full = mode == "full"
    differences = _differences(told.elites) if full else []
    device = DEVICE_OF_SUFFIX.get(told.suffix)
    return {
        "mode": mode,
        "task": told.task,
        "best": told.best,
        "elites": told.elites if full else (),
        "differences": differences,
        "tried": () if mode == "free" else told.tried,
        "parents": () if mode == "free" else told.parents,
        "language": LANGUAGES[told.suffix],
        "flags": allowed_flags(device) if device else "",
    }


def _differences(elites: Sequence[Candidate]) -> list[Difference]:
    """From the best to each of the others."""
    found = [Difference(elites[0].id, one.id, difference(elites[0], one)) for one in elites[1:]]
    return [one for one in found if one.text]


def _environment(templates: Path | None) -> Any:
    import jinja2
    import jinja2.sandbox

    if templates is not None and not templates.is_dir():
        raise UsageError(f"There is no folder {templates} with templates.", "Name one; files that it lacks are ours.")
    loaders: list[jinja2.BaseLoader] = [jinja2.PackageLoader("pytest_kgate.search.prompts", "templates")]
    if templates is not None:
        loaders.insert(0, jinja2.FileSystemLoader(str(templates)))
    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.ChoiceLoader(loaders),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # text for a model, not for a browser
        keep_trailing_newline=False,
    )


def _render(environment: Any, known: Mapping[str, Any]) -> str:
    import jinja2

    try:
        return f"{str(environment.get_template(_MAIN).render(known)).strip()}\n"
    except jinja2.TemplateError as error:
        where = f"{getattr(error, 'name', None) or _MAIN}, line {getattr(error, 'lineno', '?')}"
        raise UsageError(
            f"A template of the prompt can't be rendered ({where}): {error}.",
            "Correct it; docs/search.md says what templates are given.",
        ) from error

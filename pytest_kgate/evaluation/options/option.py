"""One option: what its flag, ini entry and environment variable are called, and what its value may be."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import shown
from pytest_kgate.evaluation.options import parse

ENVIRON_PREFIX = "KGATE_"
"""What the name of every option's environment variable begins with."""


@dataclass(frozen=True)
class Option:
    """What is known of one field of `Options` besides its type."""

    name: str
    """The field's name; flag, ini entry and environment variable follow from it."""

    default: object
    """The field's value where nobody said anything; already parsed."""

    parse: Callable[[object], Any]
    """Turns text, or what a marker gave, into the field's type; ValueError where it makes no sense."""

    allowed: str
    """What the value may be, as it reads after "takes"."""

    metavar: str
    """The value's place in the usage line; empty for a flag that takes none."""

    help: str
    """What the option does; the one text for the command line and the ini file."""

    per_test: bool = False
    """Whether the perf marker and `kbench` may override it for one test."""

    also_environ: tuple[str, ...] = ()
    """Shorter environment variables, read after the main one."""

    repeatable: bool = False
    """Whether its flag may be given several times, for a part of the value each; blanks go between them."""

    @property
    def flag(self) -> str:
        return f"--kgate-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        return f"kgate_{self.name}"

    @property
    def environ(self) -> tuple[str, ...]:
        return (f"{ENVIRON_PREFIX}{self.name.upper()}", *self.also_environ)

    def variable_set(self, environ: Mapping[str, str]) -> str | None:
        """The first of its environment variables that is set; one that is empty is how CI systems spell "not set"."""
        return next((one for one in self.environ if environ.get(one)), None)

    @property
    def help_everywhere(self) -> str:
        """What it does, its default, and its three names."""
        default = "" if self.default in (None, False, ()) else f" Default: {self.default}."
        return f"{self.help}{default} Flag {self.flag}, ini {self.ini}, environment {' or '.join(self.environ)}."

    def value(self, given: object, source: str) -> Any:
        """What was given, typed; raises UsageError that names source, value, and what is allowed."""
        try:
            return self.parse(given)
        except ValueError:
            raise UsageError(f"{self.label(source)} cannot be {shown(given)}.", f"It takes {self.allowed}.") from None

    def label(self, source: str) -> str:
        """How a message names the option that this source gave."""
        if source in (self.flag, *self.environ):
            return source
        return f"{self.ini} in the ini file" if source == "ini" else f"{self.name} ({source})"


def option(default: object, help: str, **what: Any) -> Any:
    """A field of `Options`; `what` are the other fields of `Option`."""
    return field(default=default, metadata={"help": help, **what})


def choice(words: tuple[str, ...], help: str, *, per_test: bool = True) -> Any:
    """A field that takes one of a few words, the first by default."""
    allowed = f"{', '.join(words[:-1])} or {words[-1]}"
    return option(
        words[0], help, parse=parse.one_of(words), allowed=allowed, metavar="|".join(words), per_test=per_test
    )


def switch(help: str, *, per_test: bool = False) -> Any:
    """A field that is on or off; its flag takes no value."""
    return option(False, help, parse=parse.switch, allowed="true or false", metavar="", per_test=per_test)


def path(help: str, *, of: str, metavar: str) -> Any:
    """A field that takes the path of something, which is described and has an example; none by default."""
    return option(None, help, parse=parse.path, allowed=f"the path of {of}", metavar=metavar)


def seconds(default: float | None, help: str, *, such_as: int, per_test: bool = False) -> Any:
    """A field that takes a positive number of seconds."""
    allowed = f"a positive number of seconds, such as {such_as}"
    return option(default, help, parse=parse.seconds, allowed=allowed, metavar="SECONDS", per_test=per_test)


def rate(help: str, *, such_as: float, metavar: str, per_test: bool = False) -> Any:
    """A field that takes a number between 0 and 1; none by default."""
    allowed = f"a number between 0 and 1, such as {such_as}"
    return option(None, help, parse=parse.rate, allowed=allowed, metavar=metavar, per_test=per_test)

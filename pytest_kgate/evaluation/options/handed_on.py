"""The plugin's own options on the command line of a verb that starts a session: messages advise them by these names."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

from pytest_kgate.evaluation.options.options import OPTIONS


def add(parser: argparse.ArgumentParser, own: Collection[str]) -> None:
    """Take every option under the plugin's name for it; those of the names `own` the verb has, and adds itself.

    They are collected as arguments for pytest, in `handed_on`, which checks their values.
    """
    parser.set_defaults(handed_on=[])
    for option in OPTIONS:
        if option.name not in own:
            count = None if option.metavar else 0
            parser.add_argument(
                option.flag, dest="handed_on", action=_HandOn, nargs=count, default=[], help=argparse.SUPPRESS
            )
    parser.epilog = "pytest's options (--kgate-foreign-load warn) are taken, too: `pytest --help` has them all."


class _HandOn(argparse.Action):
    """Keeps an option as it would be written for pytest."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        found = self.option_strings[0] if self.nargs == 0 else f"{self.option_strings[0]}={values}"
        namespace.handed_on = [*namespace.handed_on, found]

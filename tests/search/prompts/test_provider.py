"""Any program writes sources: how it is asked, and what it may do wrong."""

from __future__ import annotations

import sys

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.prompts.provider import Provider

if sys.platform == "win32":
    pytest.skip("needs a POSIX shell for its providers", allow_module_level=True)


def provider(script, seconds=60.0, most_bytes=2**20):
    return Provider(("/bin/sh", "-c", script), seconds, most_bytes)


def test_a_provider_reads_the_prompt_and_prints_its_answer():
    long = "a line of the prompt\n" * 20_000  # more than a pipe holds
    assert provider("cat").ask(long).text == long
    assert provider("echo no need to read").ask(long).text == "no need to read\n"


def test_no_shell_reads_the_command_line(tmp_path):
    made = Provider.parse(f"/bin/echo $HOME ; touch {tmp_path}/made '*'")
    assert made.ask("").text == f"$HOME ; touch {tmp_path}/made *\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (provider("sleep 600", seconds=0.2), "The provider sh took longer than 0.2 s."),
        (provider("exec >&-; sleep 600", seconds=0.2), "The provider sh took longer than 0.2 s."),
        (provider("yes", most_bytes=5000), "The reply is longer than 5,000 bytes."),
        (provider("echo one; echo no credit >&2; exit 3"), "The provider sh ended with status 3. It said: no credit"),
        (Provider(("/",)), "could not be started: Permission denied."),
    ],
)
def test_what_a_provider_does_wrong_is_said_and_ended(asked, said):
    answer = asked.ask("write")
    assert answer.refused.endswith(said)
    assert len(answer.text) <= 5000


@pytest.mark.parametrize(
    ("text", "said"), [("no-such-program-here", "no program that is there"), ("'x", "can't be read")]
)
def test_a_provider_that_is_not_there_is_told_at_once(text, said):
    with pytest.raises(UsageError, match=said):
        Provider.parse(text)

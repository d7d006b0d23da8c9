"""A provider of sources: any program that reads a prompt on its standard input and answers on its standard output."""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

from pytest_kgate.errors import UsageError
from pytest_kgate.system.child_process import last_lines
from pytest_kgate.system.child_process import signal_all

_READ_BYTES = 2**16


@dataclass(frozen=True)
class Answer:
    """What a provider wrote."""

    text: str
    """As far as it was read."""
    refused: str = ""
    """Why it is no answer, as a sentence; empty where it is one."""


@dataclass(frozen=True)
class Provider:
    """A program, started anew for each prompt, without a shell, in its user's environment."""

    command: tuple[str, ...]
    seconds: float = 600.0
    """That it may take for one answer."""
    most_bytes: int = 2**20
    """Of an answer."""

    @classmethod
    def parse(cls, text: str, seconds: float = 600.0, most_bytes: int = 2**20) -> Provider:
        """Parse a command line; raises `UsageError` where there is no such program."""
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"--provider {text!r} can't be read: {error}.", "Close its quotes.") from None
        program = shutil.which(words[0]) if words else None
        if program is None:
            raise UsageError(
                f"--provider {text!r} names no program that is there.",
                "Name one that reads a prompt on standard input and prints a source; it is started without a shell.",
            )
        return cls((os.path.abspath(program), *words[1:]), seconds, most_bytes)

    def ask(self, prompt: str) -> Answer:
        """Its answer to this prompt. The program and all of its session are ended then, whatever it did."""
        name = os.path.basename(self.command[0])
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as asked,
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        ):
            asked.write(prompt)
            asked.seek(0)
            try:
                process = subprocess.Popen(
                    self.command, stdin=asked, stdout=subprocess.PIPE, stderr=said, start_new_session=True
                )
            except OSError as error:
                return Answer("", f"The provider {name} could not be started: {error.strerror}.")
            with process:
                try:
                    text, refused = self._read(process, name)
                finally:
                    signal_all(process, signal.SIGKILL)
                    process.kill()
            if not refused and process.returncode:
                last = "".join(f" It said: {line}" for line in last_lines(said)[-1:])
                refused = f"The provider {name} ended with status {process.returncode}.{last}"
        return Answer(text, refused)

    def _read(self, process: subprocess.Popen[bytes], name: str) -> tuple[str, str]:
        """What it wrote, and why that is no answer."""
        assert process.stdout is not None
        end = time.monotonic() + self.seconds
        read = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while len(read) <= self.most_bytes:
                if not selector.select(max(0.0, end - time.monotonic())):
                    return _text(read), f"The provider {name} took longer than {self.seconds:g} s."
                piece = os.read(process.stdout.fileno(), _READ_BYTES)
                if not piece:
                    break
                read += piece
        if len(read) > self.most_bytes:
            return _text(read[: self.most_bytes]), f"The reply is longer than {self.most_bytes:,} bytes."
        try:
            process.wait(max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            return _text(read), f"The provider {name} took longer than {self.seconds:g} s."
        return _text(read), ""


def _text(read: bytes | bytearray) -> str:
    return bytes(read).decode("utf-8", errors="replace")

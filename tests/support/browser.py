"""A headless Chromium, driven over a pipe by its DevTools protocol: no driver, no network, no package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

MISSING = "needs Chromium, to open the page as readers do (Debian and Ubuntu: apt install chromium)"

_SECONDS = 30.0
"""That one answer of the browser may take."""


def executable() -> str | None:
    """The path of a Chromium or Chrome; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page of the browser, and what it said and asked for."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._count = 0
        self._rest = b""
        self.complaints: list[str] = []
        """Errors and warnings of scripts and of the browser, since it was started."""
        self.fetched: list[str] = []
        """Addresses that pages asked for, themselves among them."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A method of the protocol, of this tab."""
        return self._call(method, session=self._session, **parameters)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._answers], [], [], _SECONDS)[0]:
                raise RuntimeError(f"The browser said nothing for {_SECONDS:g} s.")
            self._rest += os.read(self._answers, 1 << 20) or _gone()
        text, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        method, facts = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(facts["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(" ".join(str(one.get("value")) for one in facts["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(facts["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.fetched.append(facts["request"]["url"])
        return message

    def open(self, path: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Load a file at this size and colour scheme, and wait until its script is done."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + _SECONDS
        while self.run("document.documentElement?.dataset.ready || ''") != "yes":
            if time.monotonic() > end:
                raise RuntimeError(f"{path} was not ready after {_SECONDS:g} s: {self.complaints}")
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; promises are awaited."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key: `Tab`, `Enter` or a blank."""
        facts: dict[str, Any] = {"key": key, "code": {" ": "Space"}.get(key, key)}
        facts["windowsVirtualKeyCode"] = {"Tab": 9, "Enter": 13, " ": 32}[key]
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **facts, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Write a PNG of what is seen, or of the whole page."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


def _gone() -> bytes:
    raise RuntimeError("The browser has ended.")


@contextmanager
def browser() -> Iterator[Tab]:
    """A tab of a new browser with a profile of its own; both are gone afterwards."""
    program = executable()
    if program is None:
        raise RuntimeError(MISSING)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command_read, command_write = os.pipe()
        answer_read, answer_write = os.pipe()
        arguments = [
            *("--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"),
            *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *(
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-extensions",
            ),
        ]

        def at_three_and_four() -> None:
            spare = [os.dup(command_read), os.dup(answer_write)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        process = subprocess.Popen(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=at_three_and_four,
        )
        os.close(command_read)
        os.close(answer_write)
        try:
            yield Tab(command_write, answer_read)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            os.close(command_write)
            os.close(answer_read)

"""Candidates that raise what can't be asked, printed or believed: each is an ERROR, and readable in every report."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

import pytest_kgate.bench.call
import pytest_kgate.build.kernel
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate import cli

RAISED = {
    "text": """
        class Odd(Exception):
            def __str__(self):
                raise ValueError("no text")
            __repr__ = __str__
    """,
    "text skips": """
        class Odd(Exception):
            def __str__(self):
                pytest.skip("not today")
    """,
    "text exits": """
        class Odd(Exception):
            def __str__(self):
                raise SystemExit(0)
    """,
    "text of a class": """
        class Text(str):
            def strip(self, *_):
                raise ValueError("no text")
            __str__ = rstrip = splitlines = replace = strip
        class Odd(Exception):
            def __str__(self):
                return Text("a text")
    """,
    "traceback": """
        class Odd(Exception):
            @property
            def __traceback__(self):
                raise ValueError("no traceback")
            @__traceback__.setter
            def __traceback__(self, value):
                pass
    """,
    "what it was raised from": """
        class Odd(Exception):
            @property
            def __cause__(self):
                raise ValueError("no cause")
            __context__ = __notes__ = __cause__
    """,
    "class": """
        class Odd(Exception):
            @property
            def __class__(self):
                raise ValueError("no class")
    """,
    "attributes": """
        class Odd(Exception):
            def __getattribute__(self, name):
                raise ValueError("no attributes")
    """,
    "name": """
        class Kind(type):
            @property
            def __name__(cls):
                raise ValueError("no name")
        class Odd(Exception, metaclass=Kind):
            pass
    """,
    "letters": r"""
        def Odd():
            return ValueError("\x1b[31m\ud800\x00\x9b\u202e\ufffe\r\n::error::mine\n]]></x>&<script>alert(1)</script>")
    """,
    "long": """
        def Odd():
            return ValueError("x " * 5_000_000)
    """,
    "number": """
        def Odd():
            return ValueError(10**5000)
    """,
    "exit": """
        def Odd():
            return SystemExit(0)
    """,
    "generator": """
        Odd = GeneratorExit
    """,
    "base": """
        class Odd(BaseException):
            pass
    """,
    "recursion": """
        def Odd():
            return Odd()
    """,
    "memory": """
        Odd = MemoryError
    """,
}

CALL = """
def test_mistake(kbench):
    calls = []
    def broken(x):
        calls.append(1)
        if len(calls) > ALLOWED:
            raise Odd()
        return torch.relu(x)
    kbench(broken, RELU)
"""


def without_margin(text: str) -> str:
    return re.sub(r"^ {8}", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("allowed", [0, 20], ids=["in its check", "while timed"])
@pytest.mark.parametrize("raised", RAISED)
def test_whatever_a_candidate_raises_is_an_error_in_every_report(play, folder, capsys, monkeypatch, raised, allowed):
    body = without_margin(RAISED[raised]) + CALL.replace("ALLOWED", str(allowed))
    result = play(body, "--junitxml=junit.xml", "--kgate-html=page.html", device="host")
    result.failed_once("broken")
    result.says("ERROR: broken")
    assert "INTERNALERROR" not in result.text
    reason = result.records[1]["reason"]
    assert re.match(r"The candidate( or the reference)? raised \S|.*[Oo]ut of host memory", reason)
    assert len(reason) < 100_000
    monkeypatch.chdir(folder.path)
    suites = ElementTree.parse(folder.path / "junit.xml")
    assert sum(case.find("failure") is not None for case in suites.iter("testcase")) == 1
    page = (folder.path / "page.html").read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    shown = {"terminal": result.lines, "page": page}
    for form in ("junit", "comment", "summary", "annotations"):
        capsys.readouterr()
        assert cli.main(["report", "records.json", "--format", form]) == 0
        shown[form] = capsys.readouterr().out
    ElementTree.fromstring(shown["junit"])
    for form, text in shown.items():
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e\ufffe\ud800]", text), form
        assert "\n::error::mine" not in text or form == "page", form
    assert "<script>alert" not in shown["page"]

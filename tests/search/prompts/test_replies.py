"""What becomes of a provider's answers: sources, patches, flags and rationales, and answers that hold none of them."""

from __future__ import annotations

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.prompts.replies.reply import read_reply
from pytest_kgate.search.prompts.replies.stored import Replies

PARENT = "".join(f"line {number}\n" for number in range(1, 9)) + "same\n\nsame\n"


def test_a_fenced_source_comes_with_its_flags_and_its_rationale():
    text = (
        "First try.\n\nIt keeps a row in\nregisters, not in memory.\n\nflags: -O3 -ffast-math\n\n```cpp\nint x;\n```\n"
    )
    reply = read_reply(text, ".cpp", None)
    assert reply.source == "// flags: -O3 -ffast-math\nint x;\n"
    assert (reply.flags, reply.refused) == (("-O3", "-ffast-math"), "")
    assert reply.rationale == "It keeps a row in registers, not in memory."
    assert reply.id != read_reply(text.replace("-O3", "-O2"), ".cpp", None).id


def test_of_several_blocks_the_longest_is_the_source_and_one_without_an_end_ends_with_the_text():
    assert read_reply("```\nshort\n```\n~~~c++\nint longer;\n~~~\n", ".cpp", None).source == "int longer;\n"
    assert read_reply("```cuda\nint x;\n", ".cu", None).source == "int x;\n"


@pytest.mark.parametrize(
    ("hunk", "changed"),
    [
        ("@@ -2,3 +2,3 @@\n line 2\n-line 3\n+LINE 3\n line 4\n", ("line 3", "LINE 3")),
        ("@@ -99 +99 @@\n-line 3\n+LINE 3\n", ("line 3", "LINE 3")),  # its line numbers are made up
        ("@@\n line 8\n same\n\n-same\n+other\n", ("same\n\nsame", "same\n\nother")),  # a blank line without its blank
        ("@@ -11 +11 @@\n-same\n+other\n", ("\n\nsame", "\n\nother")),  # which of the two is said
        ("@@ -1 +1,2 @@\n line 1\n+new\n@@ -8 +9 @@\n-line 8\n+LINE 8\n", ("line 1\n", "line 1\nnew\n")),
    ],
)
def test_a_patch_is_applied_where_its_context_is(hunk, changed):
    reply = read_reply(f"```diff\n--- a\n+++ b\n{hunk}```\n", ".cpp", PARENT, ("abc",))
    assert reply.refused == ""
    assert reply.source.replace("LINE 8", "line 8") == PARENT.replace(*changed)
    assert reply.parents == ("abc",)


@pytest.mark.parametrize(
    ("text", "parent", "said"),
    [
        ("", None, "The reply is empty."),
        ("I can't do that.", None, "holds no fenced block"),
        ("```diff\n@@\n-a\n+b\n```", None, "there was no parent"),
        ("```diff\n-a\n+b\n```", "a\n", "it has no hunk that begins with @@"),
        ("```diff\n@@\n-b\n+c\n```", "a\n", "the lines of hunk 1 are not in the parent, the first of them 'b'"),
        ("```diff\n@@ -7 +7 @@\n-a\n+c\n```", "a\na\n", "hunk 1 are at 2 places of the parent"),
        (
            "flags: -fplugin=/tmp/x.so\n```\nint x;\n```",
            None,
            "sets the flag -fplugin=/tmp/x.so; these can be set: -O3",
        ),
        ("flags: '-O3\n```\nint x;\n```", None, "a quote without an end"),
    ],
)
def test_an_answer_without_a_source_says_why(text, parent, said):
    reply = read_reply(text, ".cpp", parent)
    assert reply.source == ""
    assert said in reply.refused


def test_replies_are_found_again_by_hash_and_none_is_judged_twice(tmp_path):
    replies = Replies(tmp_path / "search.replies")
    good = replies.add(read_reply("Why.\n```\nint x;\n```", ".cpp", None, ("p",)), "the answer")
    again = replies.add(read_reply("```\nint x;\n```", ".cpp", None), "another answer")
    empty = [replies.add(read_reply("", ".cpp", None), "") for _ in range(2)]
    assert again.refused == f"The reply's source is that of an earlier one, {good.id}."
    assert len({good.id, again.id, *(one.id for one in empty)}) == 4
    found = Replies(tmp_path / "search.replies")
    assert list(found) == list(replies)
    assert found.path(good).read_text() == "int x;\n"
    assert (tmp_path / "search.replies" / f"{good.id}.txt").read_text() == "the answer"
    (tmp_path / "search.replies" / "replies.json").write_text("[{}]")
    with pytest.raises(UsageError, match=r"replies\.json can't be read"):
        Replies(tmp_path / "search.replies")

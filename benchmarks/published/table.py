"""The table of docs/published.md, made of committed facts; and those, made of what sweep.py wrote.

python benchmarks/published/table.py facts.jsonl --keep benchmarks/host/published-DATE.jsonl
python benchmarks/published/table.py benchmarks/*/published-*.jsonl [--into docs/published.md]
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trials import JUDGED

from pytest_kgate.report.page.markdown import write_block

BLOCK = "published"

_LONGEST = 120
"""Characters of a reason in the table."""

_PATHS = re.compile(r"\S*/\S+/(\S+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facts", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the last line of each trial to it")
    parser.add_argument("--into", type=Path, metavar="PAGE", help=f"write the block {BLOCK} of this page")
    options = parser.parse_args()
    lines = read(options.facts)
    if options.keep:
        options.keep.write_text("".join(json.dumps(one) + "\n" for one in kept(lines)))
    elif options.into:
        write_block(options.into, BLOCK, table_of(lines))
    else:
        print(table_of(lines))


def read(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """All lines, in their order."""
    return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


def kept(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last line of each trial that is one still, without folders' names, with what it came to before."""
    order = {place: number for number, place in enumerate(_wanted())}
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in lines:
        place = _place(line)
        if (*place[:2], place[2]) not in order:
            continue
        before = found.get(place)
        earlier = [*before.get("earlier", []), before["verdict"]] if before else line.get("earlier", [])
        reason = _PATHS.sub(r"\1", line["reason"])
        found[place] = {**line, "reason": reason, **({"earlier": earlier} if earlier else {})}
    return sorted(found.values(), key=lambda one: order[_place(one)])


def _wanted() -> Iterator[tuple[str, str, str]]:
    for one in JUDGED:
        for case in dict.fromkeys((one.host, one.gpu)):
            for name in (*one.right, *one.wrong):
                yield one.problem, case, name


def _place(line: dict[str, Any]) -> tuple[str, str, str]:
    return line["problem"], line["case"], line["candidate"]


def table_of(lines: Iterable[dict[str, Any]]) -> str:
    """A row for each trial."""
    rows = ["| device | problem | candidate | wanted | verdict | ratio, 95 % interval | why not, or what showed |"]
    rows.append("| --- | --- | --- | --- | --- | --- | --- |")
    for one in lines:
        ratio = one.get("ratio")
        shown = f"{ratio[1]:.3f} [{ratio[0]:.3f}, {ratio[2]:.3f}]" if ratio and ratio[0] is not None else ""
        verdict = one["verdict"] if one["verdict"] == one["wanted"] else f"**{one['verdict']}**"
        if one.get("earlier"):
            verdict += f" (before: {', '.join(one['earlier'])})"
        name = one.get("name") or f"{Path(one['problem']).name} {one['case']}"
        name = f"`{name}`" + (" (recordings made)" if one.get("made") else "")
        why = textwrap.shorten(one["reason"], _LONGEST, placeholder=" ...").replace("|", "\\|")
        device = one.get("device", "") + (f", {one['threads']} thread" if one.get("threads") else "")
        solution = f"{one['file'].removesuffix('.py')}: {one['candidate']}"
        rows.append(f"| {device} | {name} | {solution} | {one['wanted']} | {verdict} | {shown} | {why} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()

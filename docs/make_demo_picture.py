"""Writes docs/demo.svg anew: what `monitor demo` shows on a terminal, as a picture.

    python docs/make_demo_picture.py

Most calm days and some of the end are left out, marked by dots; all else is as it was printed. Standard library alone.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS, CELL, LINE, FONT = 80, 8.4, 19, 14
MARGIN, BAR = 22, 40
COLOURS = {
    "": "#d4d8e0",
    "1": "#ffffff",
    "2": "#7d8597",
    "31": "#ff6b6b",
    "32": "#5fd38a",
    "33": "#f2b950",
    "35": "#c792ea",
    "36": "#6cc7e8",
}
CALM = re.compile(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ")
MOST_CALM = 4
LEFT_OUT = "\x1b[2m⋮\x1b[0m"
# What is shown: from the first line with the one mark to before the next with the other.
PARTS = (
    ("A training run", "  Cannot be expressed"),
    ("GCP: since yesterday", "source aws: stale: FIRING"),
    ("The machine dies", "Somebody reads it, stops"),
    ("The forgotten node", "$ monitor status"),
)


def main() -> None:
    """Run the demo on a pseudo-terminal and draw what it wrote."""
    lines = list(without_calm_days(chosen(recorded().splitlines())))
    (HERE / "demo.svg").write_text(drawn(lines), encoding="utf-8")


def recorded() -> str:
    """What the demo writes to a terminal, colours included."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "monitor", "demo", "--fast"]
    process = subprocess.Popen(command, stdout=theirs, env=environment, cwd=HERE.parent)  # noqa: S603 - our own program
    os.close(theirs)
    output = b""
    while chunk := read(ours):
        output += chunk
    if process.wait() != 0:
        raise SystemExit("the demo failed")
    return output.decode()


def read(file: int) -> bytes:
    """The next piece; nothing at the end, which Linux reports as an error."""
    try:
        return os.read(file, 65536)
    except OSError:
        return b""


def chosen(lines: list[str]) -> Iterator[str]:
    """What fits a picture. Raises ValueError when the demo tells another story."""
    at = 0
    for begins, ends in PARTS:
        start = line_with(begins, lines, at)
        if at:
            yield LEFT_OUT
        at = line_with(ends, lines, start)
        yield from lines[start : at - 1 if not lines[at - 1] else at]


def line_with(mark: str, lines: list[str], start: int) -> int:
    """The number of the first line from `start` on that has this in it."""
    for number in range(start, len(lines)):
        if mark in lines[number]:
            return number
    raise ValueError(f"the demo does not say {mark!r} any more")


def without_calm_days(lines: Iterable[str]) -> Iterator[str]:
    """Of a row of days on which nothing happened the first and the last."""
    for calm, group in groupby(lines, key=lambda line: bool(CALM.match(line))):
        row = list(group)
        yield from [row[0], LEFT_OUT, row[-1]] if calm and len(row) > MOST_CALM else row


def drawn(lines: list[str]) -> str:
    """The picture of a terminal window."""
    width, height = COLUMNS * CELL + 2 * MARGIN, len(lines) * LINE + BAR + MARGIN
    buttons = "".join(
        f'<circle cx="{MARGIN + 20 * index}" cy="20" r="6" fill="{colour}"/>'
        for index, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    texts = "\n".join(text(line, BAR + LINE * (index + 1) - 5) for index, line in enumerate(lines) if line.strip())
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" width="{width:g}" role="img">
<title>monitor demo: a training run on three clouds overspends, and what the monitor says of it</title>
<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1}" rx="10" fill="#161a22" stroke="#3a4252"/>
{buttons}
<text x="50%" y="25" fill="#7d8597" text-anchor="middle" font-family="sans-serif" font-size="13">monitor demo</text>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="{FONT}" \
xml:space="preserve">
{texts}
</g>
</svg>
"""


def text(line: str, y: int) -> str:
    """One line: every run of one colour is stretched to its cells, so that columns stand in any font."""
    x, style, parts = float(MARGIN), "", []
    for index, piece in enumerate(re.split(r"\x1b\[(\d+)m", line)):
        if index % 2:  # every second piece is a colour
            style = "" if piece == "0" else piece
            continue
        for run in re.findall(r"[█-▏]+|[^█-▏]+", piece):
            parts.append(block(run, x, y, style) if run[0] in "█▉▊▋▌▍▎▏" else span(run, x, y, style))
            x += len(run) * CELL
    return "".join(parts)


def span(run: str, x: float, y: int, style: str) -> str:
    """Some text of one colour."""
    inner = run.strip()
    if not inner:
        return ""
    x += (len(run) - len(run.lstrip())) * CELL
    weight = ' font-weight="bold"' if style == "1" else ""
    width = len(inner) * CELL
    return f'<text x="{x:g}" y="{y}" textLength="{width:g}" fill="{COLOURS[style]}"{weight}>{escape(inner)}</text>'


def block(run: str, x: float, y: int, style: str) -> str:
    """Part of a bar, as a rectangle: fonts leave gaps between blocks."""
    eighths = sum(0x2590 - ord(c) for c in run)
    return f'<rect x="{x:g}" y="{y - 12}" width="{eighths * CELL / 8:g}" height="15" fill="{COLOURS[style]}"/>'


if __name__ == "__main__":
    main()

"""Where in a TOML text each key stands. `tomllib` gives values without positions; problems need them."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, field

Loc = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_PART = re.compile(r"""[ \t]*+(?:(?P<bare>[\w-]++)|"(?P<basic>(?:[^"\\\n]|\\.)*+)"|'(?P<literal>[^'\n]*+)')[ \t]*+""")
# Three quotes close a multi-line string, and up to two more before them belong to it.
_SCALAR = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"""(?:"{0,2})'
    r"|'''(?:[^']|'(?!''))*'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|[^,\]}#\n]++",
    re.DOTALL,
)


_STRING = (
    r'"""(?:[^"\\]|\\.|"(?!""))*+"""'
    r"|'''(?:[^']|'(?!''))*+'''"
    r'|"(?:[^"\\\n]|\\.)*+"?'
    r"|'[^'\n]*+'?"
)
_OPENS = {"]": "[", "}": "{"}
_TOKEN = re.compile(rf"{_STRING}|#[^\n]*+|[\[\]{{}}\n]|[^\[\]{{}}\n#\"']++", re.DOTALL)
# A line that begins a table, or sets a key: neither can stand in a list.
_HEADER_OR_PAIR = re.compile(
    r"""[ \t]*+(?:\[{1,2}[ \t]*+[A-Za-z_][\w. \t"'-]*+\]{1,2}[ \t]*+(?=\#|\r?$)|[A-Za-z_][\w.-]*+[ \t]*+=)""",
    re.MULTILINE,
)
_HEADER = re.compile(r"[ \t]*+\[[^\n]*+")


@dataclass(frozen=True, slots=True)
class Lines:
    """The line of every table, key and array element, by its path: `("budgets", 0, "thresholds", 1, "at")`.

    `twice`: the first path given a second time, with the lines of both.
    """

    lines: dict[Loc, int] = field(default_factory=dict)
    twice: tuple[Loc, int, int] | None = None

    def line_of(self, loc: Loc) -> int | None:
        """The line of the path, or of the nearest thing around it."""
        for length in range(len(loc), 0, -1):
            if loc[:length] in self.lines:
                return self.lines[loc[:length]]
        return None


def scan(text: str) -> Lines:
    """Find the line of everything in a TOML text; one that `tomllib` refuses is read as far as it goes."""
    scanner = _Scanner(text)
    with suppress(_LostError):
        scanner.run()
    return Lines(scanner.lines, scanner.twice)


def unclosed_list(text: str, line: int) -> int | None:
    """Where the list begins that is still open in a line which cannot be in one; None if there is none before `line`.

    `line`: where `tomllib` gave up, which may be long after.
    """
    open_, number, at = list[tuple[str, int]](), 1, 0
    while at < len(text):
        if at == 0 or text[at - 1] == "\n":
            if open_ and open_[0][0] == "[" and _HEADER_OR_PAIR.match(text, at):
                break
            if not open_ and (header := _HEADER.match(text, at)):
                at = header.end()
        token = _TOKEN.match(text, at)
        if token is None:
            break
        mark, at = token[0], max(token.end(), at + 1)
        if mark in ("[", "{"):
            open_.append((mark, number))
        elif mark in ("]", "}"):
            while open_ and open_.pop()[0] != _OPENS[mark]:
                pass  # what was left open inside is closed with what is around it
        number += mark.count("\n")
    return open_[0][1] if open_ and open_[0][0] == "[" and open_[0][1] <= line else None


class _LostError(Exception):
    """What stands here is not TOML; `tomllib` has said so already."""


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._elements: dict[Loc, int] = {}
        self._headers: set[Loc] = set()
        self.lines: dict[Loc, int] = {}
        self.twice: tuple[Loc, int, int] | None = None

    def run(self) -> None:
        table: Loc = ()
        while self._skip_blank():
            if self._take("[["):
                table = self._array_header()
            elif self._take("["):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Loc:
        line = self._line()
        table = self._inside((), self._key())
        if table in self._headers:
            self._say_twice(table, line)
        self._headers.add(table)
        self.lines.setdefault(table, line)
        self._need("]")
        return table

    def _array_header(self) -> Loc:
        line = self._line()
        array = self._inside((), self._key())
        index = self._elements.get(array, -1) + 1
        self._elements[array] = index
        self.lines.setdefault(array, line)
        self.lines[(*array, index)] = line
        self._need("]]")
        return (*array, index)

    def _pair(self, table: Loc) -> None:
        line = self._line()
        loc = self._inside(table, self._key())
        for length in range(len(table) + 1, len(loc)):
            self.lines.setdefault(loc[:length], line)
        if loc in self.lines:
            self._say_twice(loc, line)
        self.lines.setdefault(loc, line)
        self._need("=")
        self._value(loc)

    def _value(self, loc: Loc) -> None:
        self._at = self._match(_SPACE).end()
        if self._take("["):
            self._array(loc)
        elif self._take("{"):
            self._inline_table(loc)
        else:
            self._at = self._match(_SCALAR).end()

    def _array(self, loc: Loc) -> None:
        index = 0
        while self._skip_blank() and not self._take("]"):
            self.lines[(*loc, index)] = self._line()
            self._value((*loc, index))
            index += 1
            self._skip_blank()
            self._take(",")

    def _inline_table(self, loc: Loc) -> None:
        while self._skip_blank() and not self._take("}"):
            self._pair(loc)
            self._skip_blank()
            self._take(",")

    def _key(self) -> list[str]:
        parts = []
        while True:
            part = self._match(_PART)
            self._at = part.end()
            parts.append(_unquoted(part))
            if not self._take("."):
                return parts

    def _inside(self, table: Loc, key: list[str]) -> Loc:
        """The full path of a key; a name of an array of tables in it means the newest element."""
        loc = table
        for part in key[:-1]:
            loc = (*loc, part)
            if loc in self._elements:
                loc = (*loc, self._elements[loc])
        return (*loc, key[-1])

    def _say_twice(self, loc: Loc, line: int) -> None:
        if self.twice is None:
            self.twice = (loc, self.lines[loc], line)

    def _skip_blank(self) -> bool:
        self._at = self._match(_BLANK).end()
        return self._at < len(self._text)

    def _line(self) -> int:
        return bisect_right(self._starts, self._at)

    def _take(self, mark: str) -> bool:
        found = self._text.startswith(mark, self._at)
        if found:
            self._at += len(mark)
        return found

    def _need(self, mark: str) -> None:
        if not self._take(mark):
            raise _LostError

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _LostError
        return match


def _unquoted(part: re.Match[str]) -> str:
    if part["basic"] is None:
        return part["bare"] if part["literal"] is None else part["literal"]
    try:
        return str(tomllib.loads(f'key = "{part["basic"]}"')["key"])
    except tomllib.TOMLDecodeError:
        raise _LostError from None

"""How the demo looks: 80 columns, colour only where a person watches, pauses only for the eye."""

from __future__ import annotations

import os
import textwrap
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, TextIO

from alarms.faults import HEALTH
from alarms.model import AlarmStatus, Severity
from monitor.demo.inboxes import Arrived
from monitor.demo.process import Change
from monitor.output import say
from monitor.status.parts import money, percent_used

WIDTH = 80
_BOLD, _DIM, _RED, _GREEN, _YELLOW, _MAGENTA, _CYAN = 1, 2, 31, 32, 33, 35, 36
_STATES = {"OK": _GREEN, "WARNING": _YELLOW, "CRITICAL": _RED, "UNKNOWN": _MAGENTA}
_FRESHNESS = {"LATE": _YELLOW, "STALE": _RED}
_SEVERITIES = {Severity.WARNING: _YELLOW, Severity.CRITICAL: _RED}
# A cell of the bar is 5 % of the budget, an eighth of a block the smallest step. Marks stand at 80 % and 100 %.
_CELLS, _PER_BUDGET, _EIGHTHS = 25, 20, 8
_ZONES = ((16, _GREEN), (20, _YELLOW), (_CELLS, _RED))
_MARKS = {16: "┊", 20: "│"}
_BLOCKS = " ▏▎▍▌▋▊▉█"
_CARD_INDENT, _NAME_WIDTH = 6, 8
# For terminals that know nothing but ASCII.
_ASCII = str.maketrans({**dict.fromkeys("▏▎▍▌▋▊▉", "="), "█": "#", "·": ".", "┊": ":", "│": "|"})
_ASCII |= str.maketrans({"●": "*", "→": "->", "…": "...", "▸": ">"})


class Screen:
    """Writes to one stream. `pauses`: wait between lines, if somebody watches."""

    def __init__(self, out: TextIO, *, pauses: bool) -> None:
        terminal = out.isatty()
        self.colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._out = out
        self._waits = pauses and terminal
        self._ascii = not _can_show(out.encoding or "ascii", _BLOCKS + "●→")
        self._never = threading.Event()
        self._paused = time.monotonic()

    def pause(self, seconds: float) -> None:
        """Give the eye that much time since the last pause; what was computed meanwhile counts."""
        if self._waits:
            self._never.wait(max(0.0, self._paused + seconds - time.monotonic()))
        self._paused = time.monotonic()

    def say(self, text: str = "") -> None:
        """Write some lines as they are. Raises OutputError."""
        if self._ascii:
            text = text.translate(_ASCII).encode("ascii", "replace").decode()
        say(text, self._out)

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.say(f"\n{self._paint(text, _BOLD)}")

    def command(self, text: str) -> None:
        """Show what is done by hand."""
        self.say(self._paint(f"$ {text}", _BOLD))

    def paragraph(self, text: str) -> None:
        """Write a text in lines that fit."""
        self.say(textwrap.fill(text, WIDTH))

    def note(self, text: str) -> None:
        """Tell what happens in the world, as opposed to what the monitor says of it."""
        for line in textwrap.wrap(f"▸ {text}", WIDTH, subsequent_indent="  "):
            self.say(self._paint(line, _CYAN))

    def moment(self, at: datetime, budget: dict[str, Any], *, state: str, source: str) -> None:
        """One line: when, spend against the budget, and how status and source stand.

        `budget`: as `status --json` has it. `source`: its name and freshness, "" when that is FRESH; or what else is
        to be said in a few words.
        """
        spend, percent = budget["spend"], percent_used(budget)
        figure = "not known" if spend is None else money(spend, budget["currency"]).partition(" ")[0]
        share = "-" if percent is None else f"{percent}%"
        cells = [
            f"{at:%a} {at.day:>2} {at:%b %H:%M}",
            self._bar(Decimal(spend or "0"), Decimal(budget["amount"])),
            f"{figure:>10}",
            f"{share:>4}",
            self._paint(f"{state:<8}", _STATES[state]),
            self._paint(source, _FRESHNESS.get(source.rpartition(" ")[2], _MAGENTA)),
        ]
        self.say(" ".join(cells).rstrip())

    def transition(self, change: Change) -> None:
        """One line for an alarm that has changed."""
        subject, at = change.subject, change.at
        what = f"{subject}: {at}" if change.on == HEALTH else f"{subject}: {change.on} {at}, {change.severity}"
        colour = _SEVERITIES[Severity(change.severity)] if change.after == AlarmStatus.FIRING else _GREEN
        reason = change.reason.replace("_", " ")
        self.say(self._paint(f"  ● {what}: {change.before} → {change.after} ({reason})", colour))

    def rung(self, name: str, before: str, after: str) -> None:
        """Some lines for an alarm of AWS itself that has changed."""
        text = f"  ● AWS's own alarm {name}: {before} → {after}"
        for line in textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False):
            self.say(self._paint(line, _RED))

    def card(self, messages: Iterable[Arrived]) -> None:
        """The same message as each receiver got it, one below the other."""
        edge = self._paint("│", _DIM)
        for message in messages:
            for line in self._lines(message):
                self.say(f"    {edge} {line}")

    def _lines(self, message: Arrived) -> list[str]:
        room = WIDTH - _CARD_INDENT - _NAME_WIDTH
        first, *more = textwrap.wrap(message.headline, room, max_lines=2, placeholder=" …") or [""]
        for detail in message.details:
            more += [self._paint(line, _DIM) for line in textwrap.wrap(detail, room, max_lines=2, placeholder=" …")]
        name = self._paint(f"{message.where:<{_NAME_WIDTH}}", _BOLD)
        return [f"{name}{first}", *(f"{'':{_NAME_WIDTH}}{line}" for line in more)]

    def _bar(self, spend: Decimal, amount: Decimal) -> str:
        eighths = int(max(Decimal(0), min(spend * _PER_BUDGET * _EIGHTHS // amount, Decimal(_CELLS * _EIGHTHS))))
        full, rest = divmod(eighths, _EIGHTHS)
        cells = ["█"] * full + ([_BLOCKS[rest]] if rest else [])
        cells += [_MARKS.get(index, "·") for index in range(len(cells), _CELLS)]
        bar, start = "", 0
        for end, colour in _ZONES:
            filled = min(max(full + bool(rest), start), end)
            bar += self._paint("".join(cells[start:filled]), colour) + self._paint("".join(cells[filled:end]), _DIM)
            start = end
        return bar

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colour and text else text


def _can_show(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True

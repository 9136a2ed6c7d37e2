"""The small change of messages: clean lines, instants and durations. Pure."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, timedelta, tzinfo


def clean(text: str, length: int) -> str:
    """One line of at most `length` characters, without anything invisible: no controls, no bidi overrides."""
    visible = "".join(_visible(character) for character in text)
    line = " ".join(visible.split())
    return line if len(line) <= length else line[: length - 3].rstrip() + "..."


def to_ascii(text: str) -> str:
    """The text in ASCII, accents taken off, `?` for what has no letter; one line, and no RFC 2047 encoded word.

    Mail programs decode `=?utf-8?q?=0ABcc:...?=` in a subject, and Python's own email package even writes the line
    break that it finds there into the message's head.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return clean(bare.encode("ascii", "replace").decode(), 1000).replace("=?", "= ?")


def instant_text(instant: datetime, timezone: tzinfo) -> str:
    """`23 Nov 2026 14:00 UTC`: everywhere in texts for people."""
    local = instant.astimezone(timezone)
    return f"{day_text(local)} {local:%H:%M %Z}"


def day_text(day: date) -> str:
    """`23 Nov 2026`: everywhere in texts for people; of an instant its day in its own zone."""
    return f"{day.day} {day:%b} {day.year:04}"  # %Y has fewer digits for the years before 1000


def rfc3339(instant: datetime) -> str:
    """`2026-11-23T18:00:00Z`: for machines, in UTC."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration_text(duration: timedelta) -> str:
    """`4 h 10 min`; two units at most."""
    minutes = max(0, duration // timedelta(minutes=1))
    hours, days = minutes // 60, minutes // (24 * 60)
    if minutes < 1:
        return "less than a minute"
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


def _visible(character: str) -> str:
    # Cf: zero-width and bidi; Co, Cs, Cn: private, surrogate, unassigned; Cc, Zl, Zp: breaks a line or worse.
    category = unicodedata.category(character)
    if category in ("Cf", "Co", "Cs", "Cn"):
        return ""
    return " " if category in ("Cc", "Zl", "Zp", "Zs") else character

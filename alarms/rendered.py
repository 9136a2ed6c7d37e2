"""A message that has been written, before a notifier lays it out its own way. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# About 150 alarms of a digest; who wants all of them asks for the status.
_LISTED_LENGTH = 20_000


@dataclass(frozen=True, slots=True)
class Line:
    """One labelled fact. `foreign`: somebody else chose (part of) the value."""

    label: str
    value: str
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Some lines under a heading; what they say somebody else chose."""

    heading: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The heading, and the lines indented below it."""
        return "\n".join((f"{self.heading}:", *(f"  {line}" for line in self.lines)))


@dataclass(frozen=True, slots=True)
class Rendered:
    """One message. `subject` is ASCII and at most 99 characters; `headline` is its full text; `see` are commands.

    `entries`: what a digest lists, a line each, the loudest first. `sections`: those of a summary.
    """

    subject: str
    headline: str
    notes: tuple[str, ...]
    lines: tuple[Line, ...]
    see: tuple[str, ...]
    id: str
    entries: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()

    @property
    def short(self) -> str:
        """One line: the headline and what must be known about this copy of it."""
        # A note is in brackets, or a sentence.
        return self.headline + "".join(f" {note}" if note.startswith("(") else f". {note}" for note in self.notes)

    @property
    def text(self) -> str:
        """All of it, as plain text."""
        parts = ["\n".join((self.headline, *self.notes)), "\n".join(self.listed(_LISTED_LENGTH))]
        parts.append("\n".join(f"{line.label}: {line.value}" for line in self.lines))
        parts += [section.text for section in self.sections]
        if self.see:
            parts.append("\n".join(("See:", *(f"  {command}" for command in self.see))))
        parts.append(f"Id: {self.id}")
        return "\n\n".join(part for part in parts if part) + "\n"

    def listed(self, length: int, measure: Callable[[str], int] = len) -> list[str]:
        """As many entries as fit in so many characters when each has a line, and how many more there are."""
        shown: list[str] = []
        left = length - len(_more(len(self.entries)))
        for entry in self.entries:
            left -= measure(entry) + 1
            if left < 0:
                return [*shown, _more(len(self.entries) - len(shown))]
            shown.append(entry)
        return shown


def _more(count: int) -> str:
    return f"and {count} more: monitor status"

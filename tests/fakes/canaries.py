"""Secrets that sing: unique values to plant, and a search for them in whatever a process left, in every form."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

# Half of a secret is a leak too.
_PIECE = 12
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Canary:
    """A secret by the name of the field it is planted in."""

    field: str
    value: str


@dataclass(frozen=True)
class Hit:
    """A form of a canary, found."""

    field: str
    form: str
    where: str
    around: str


class Aviary:
    """Makes canaries and knows them all. `seed` makes them again."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # to be made again, not to be safe
        self.canaries: dict[str, Canary] = {}

    def letters(self, field: str, length: int = 32) -> str:
        """Letters and digits: for a path, a key."""
        return self._keep(field, "".join(self._random.choices(_LETTERS, k=length)))

    def password(self, field: str) -> str:
        """With what URLs, JSON, shells, base64 and Python's repr write differently."""
        ends = ["".join(self._random.choices(_LETTERS, k=14)) for _ in range(2)]
        return self._keep(field, f"{ends[0]}\\\"'/+%&=<{ends[1]}")

    def forms(self) -> dict[bytes, tuple[str, str]]:
        """Every form to look for, with its field and name."""
        return {
            form: (canary.field, name) for canary in self.canaries.values() for name, form in forms_of(canary.value)
        }

    def search(self, texts: dict[str, bytes]) -> list[Hit]:
        """Where which canary sings."""
        forms = self.forms()
        return [
            Hit(field, name, where, repr(data[max(0, at - 60) : at + 100]))
            for where, data in texts.items()
            for form, (field, name) in forms.items()
            if (at := data.find(form)) >= 0
        ]

    def _keep(self, field: str, value: str) -> str:
        assert field not in self.canaries
        self.canaries[field] = Canary(field, value)
        return value


def forms_of(value: str) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each form that text takes on its way through programs."""
    raw = value.encode()
    yield "raw", raw
    yield "its beginning", raw[:_PIECE]
    yield "its end", raw[-_PIECE:]
    yield "upper case", raw.upper()
    yield "backwards", raw[::-1]
    yield "UTF-16", value.encode("utf-16-le")
    for name, text in (
        ("URL", quote(value)),
        ("URL, all", quote(value, safe="")),
        ("form", quote_plus(value)),
        ("URL, lower", quote(value, safe="").replace("%2F", "%2f").replace("%2B", "%2b")),
        ("JSON", json.dumps(value)[1:-1]),
        ("repr", repr(value)[1:-1]),
        ("JSON in JSON", json.dumps(json.dumps(value))[3:-3]),
        ("XML", value.replace("&", "&amp;").replace("<", "&lt;")),
        ("hex", raw.hex()),
        ("HEX", raw.hex().upper()),
        ("base32", base64.b32encode(raw).decode().rstrip("=")),
    ):
        yield name, text.encode()
    for offset in range(3):
        # The characters that depend on the value alone, wherever in a longer text it starts.
        text = base64.b64encode(b"\0" * offset + raw + b"\0\0").decode()
        start, end = (0, 2, 3)[offset], (offset + len(raw)) * 8 // 6
        core = text[start:end]
        yield f"base64+{offset}", core.encode()
        yield f"base64url+{offset}", core.replace("+", "-").replace("/", "_").encode()


def files_below(*directories: Path) -> dict[str, bytes]:
    """Every file, by its path; sockets and pipes aside."""
    return {
        str(path): path.read_bytes()
        for directory in directories
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }

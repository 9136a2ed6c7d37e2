"""What stands in a message of a budget, read strictly."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from alarms.money import parse_amount, plain, to_places

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,40})?([eE][+-]?\d{1,2})?", re.ASCII)


def document_of(data: bytes) -> dict[str, Any]:
    """The JSON object in a message, numbers as they are written; empty if it is none."""
    try:
        document = json.loads(data, parse_float=str, parse_int=str, parse_constant=str)
    except (RecursionError, UnicodeDecodeError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def amount_of(text: Any) -> Decimal | None:
    """A number of JSON; with an exponent too, for Google writes floats."""
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        return None
    try:
        return parse_amount(plain(to_places(Decimal(text))))
    except ValueError:
        return None

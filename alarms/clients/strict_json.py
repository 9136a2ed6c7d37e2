"""JSON as the clouds' SDKs read it, without what they let pass: the same key twice, nesting without end."""

from __future__ import annotations

import json
from typing import Any

from alarms.errors import TemporaryError


def loads(text: str | bytes, who: str, kind: type[TemporaryError] = TemporaryError, **options: Any) -> Any:
    """What an answer of `who` says; `options` are those of json.loads.

    Raises `kind` for a key that stands twice in one object and for nesting without end, ValueError for what is no JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_once_each, **options)
    except RecursionError:
        raise kind(f"{who} answered with JSON that is nested too deeply") from None
    except _TwiceError:
        raise kind(f"{who} answered with JSON that has the same key twice in one object") from None


class _TwiceError(Exception):
    """A key stands twice in one object."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise _TwiceError
    return read

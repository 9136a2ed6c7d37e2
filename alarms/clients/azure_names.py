"""Names of budgets inside Azure, which has no tags for them: the name alone says whose a budget is. Pure.

`PREFIX__BUDGET__MARK`, of at most 63 letters, digits, `_` and `-`. Other characters are written as `_` and two hex
digits for each byte. The mark is made of prefix and budget, so a budget that was named by hand is never ours, and
names that look the same, differ in case alone or had to be cut are still two names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import unquote

_LONGEST, _LONGEST_PREFIX = 63, 24
_OF_BUDGET, _OF_NAME = 8, 4
_BETWEEN = "__"
_TAIL = len(_BETWEEN) + _OF_BUDGET + _OF_NAME
_UNUSUAL = re.compile(r"[^A-Za-z0-9-]", re.ASCII)
_ESCAPE = re.compile(r"_([0-9a-f]{2})", re.ASCII)
_CUT_ESCAPE = re.compile(r"_[0-9a-f]?$", re.ASCII)


def name_of(prefix: str, budget: str, accounts: Iterable[str] = ()) -> str:
    """The name of a budget's twin. `accounts`: what `budget_in` will be told as well, so that it need not stand there.

    A name that does not fit is written without the account at its end, as budgets of `each` have it, or cut.
    """
    start = _start(prefix)
    room = _LONGEST - len(start) - _TAIL
    bare = (budget.removesuffix(f"/{account}") for account in accounts)
    texts = [_escaped(text) for text in (budget, *bare)]
    shown = next((text for text in texts if len(text) <= room), _CUT_ESCAPE.sub("", texts[0][:room]))
    mark = _hash(prefix, budget)[:_OF_BUDGET]
    return f"{start}{shown}{_BETWEEN}{mark}{_check(prefix, shown, mark)}"


def budget_in(prefix: str, name: str, accounts: Iterable[str] = ()) -> str | None:
    """Whose twin it is; what was cut, and is not known otherwise, ends with `~` and its mark. None: it is not ours."""
    start = _start(prefix)
    tail = name[-_TAIL:]
    if not name.startswith(start) or len(name) < len(start) + _TAIL or not tail.startswith(_BETWEEN):
        return None
    shown, mark = name[len(start) : -_TAIL], tail[len(_BETWEEN) : -_OF_NAME]
    if tail[-_OF_NAME:] != _check(prefix, shown, mark):
        return None
    text = unquote(_ESCAPE.sub(r"%\1", shown), errors="ignore")
    possible = (text, *(f"{text}/{account}" for account in accounts))
    return next((one for one in possible if _hash(prefix, one).startswith(mark)), f"{text}~{mark}")


def looks_like_ours(prefix: str, name: str) -> bool:
    """Whether somebody might take it for ours: Azure takes no notice of case."""
    return name.lower().startswith(_start(prefix).lower())


def _start(prefix: str) -> str:
    text = _escaped(prefix)
    if len(text) > _LONGEST_PREFIX:
        text = _CUT_ESCAPE.sub("", text[: _LONGEST_PREFIX - _OF_BUDGET - 1]) + f"-{_hash(prefix)[:_OF_BUDGET]}"
    return f"{text}{_BETWEEN}"


def _escaped(text: str) -> str:
    def escape(match: re.Match[str]) -> str:
        return "".join(f"_{byte:02x}" for byte in match[0].encode(errors="replace"))

    return _UNUSUAL.sub(escape, text)


def _check(prefix: str, shown: str, mark: str) -> str:
    return _hash(prefix, shown, mark)[:_OF_NAME]


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="replace")).hexdigest()

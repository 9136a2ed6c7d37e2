"""What to say of a name that nothing has: the nearest one that something has. Standard library alone."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from monitor.config_file import shown

# More names than this help nobody.
_MOST_LISTED = 30
_DID_YOU_MEAN = "; did you mean "


def unknown_key(key: str, known: Iterable[str]) -> str:
    """What to say of a key that nothing here has."""
    return f"unknown key{_suggestion(key, _once(known), 'keys')}"


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """What to say of a reference to something that does not exist: `no receiver is named "onkall"; did you mean …`."""
    return f'no {what} is named "{shown(name)}"{_suggestion(name, _once(known), f"{what}s")}'


def never_charged(what: str, name: str, known: Iterable[str], *, listed: bool = True) -> str:
    """What to say of a name in a scope that no charge ever had. `listed`: where none is near, all that there are."""
    suggestion = _suggestion(name, _once(known), f"{what}s")
    told = suggestion if listed or suggestion.startswith(_DID_YOU_MEAN) else ""
    return f'no charge of {what} "{shown(name)}" was ever seen{told}'


def _once(known: Iterable[str]) -> tuple[str, ...]:
    """As they come; two of one name are told of elsewhere."""
    return tuple(dict.fromkeys(known))


@lru_cache(maxsize=1024)
def _suggestion(name: str, known: tuple[str, ...], what: str) -> str:
    from difflib import get_close_matches  # slow to import, and seldom needed

    if not known:
        return f"; there are no {what} here"
    near = get_close_matches(name[:64], known, n=1, cutoff=0.6)
    if near:
        return f'{_DID_YOU_MEAN}"{near[0]}"?'
    return f"; the {what} here are {', '.join(known)}" if len(known) <= _MOST_LISTED else ""

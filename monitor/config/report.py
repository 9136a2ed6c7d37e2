"""Collects what is wrong with a config, and says in plain sentences what the validation library found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from alarms.money import is_currency
from monitor.config.model import INLINE_SECRET
from monitor.config_file import ConfigFile, path_text
from monitor.config_lines import Loc, scan
from monitor.errors import Problem
from monitor.suggestions import unknown_key, unknown_name

# The last two are for all who report problems, without what is slow to import here.
__all__ = ["Report", "choices", "unknown_key", "unknown_name"]

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "string_type": 'expected a text in quotes, such as {key} = "…"',
    "bool_type": "expected true or false, without quotes",
    "int_type": "expected a whole number, without quotes",
    "tuple_type": 'expected a list, such as {key} = ["…"]',
    "list_type": 'expected a list, such as {key} = ["…"]',
    "model_type": "expected a table, such as {key} = {{ … }}",
    "dict_type": "expected a table, such as {key} = {{ … }}",
}


_ABOUT_KEY = re.compile(r"(?P<key>[a-z_]+)(?:: | (?=is ))")
# The pattern of `currency` in the settings of the sources.
_CURRENCY = "^[A-Z]{3}$"
_OWN_WORDS = re.compile(r"^(Input should be|(List|String|Tuple) should (have|match))")


class Report:
    """Problems and warnings of one config file, each with its line."""

    def __init__(self, file: ConfigFile) -> None:
        self._file = file
        self._lines = scan(file.text)
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._wrong: set[Loc] = set()

    def error(self, loc: Loc, message: str) -> None:
        """Something that must be changed before this config can be used."""
        self._problems.append(self._problem(loc, message))
        self._wrong.update(loc[:length] for length in range(len(loc) + 1))

    def warn(self, loc: Loc, message: str) -> None:
        """Something that works, but hardly as meant."""
        self._warnings.append(self._problem(loc, message))

    def has_error(self, loc: Loc) -> bool:
        """Whether an error was reported here or inside."""
        return loc in self._wrong

    def is_unread(self, table: str, parts: Sequence[object]) -> bool:
        """Whether nothing is known of an array of tables because it is no array: then no name in it is known."""
        return not parts and self.has_error((table,))

    def inline_secret(self, loc: Loc) -> None:
        """A secret stands in the file itself: a warning, and an error where every user can read it."""
        if self._file.world_readable:
            self.error(
                loc,
                "a secret stands here and every user of this machine can read it; "
                f'replace it with "env:NAME" or "file:/path", or run: chmod o-r {self._file.path}',
            )
        else:
            self.warn(loc, INLINE_SECRET)

    @property
    def problems(self) -> list[Problem]:
        """All errors in the order of the file."""
        return sorted(self._problems, key=_place)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """All warnings in the order of the file."""
        return tuple(sorted(self._warnings, key=_place))

    def line_of(self, loc: Loc) -> int | None:
        """Where this stands in the file."""
        return self._lines.line_of(loc)

    def validate(self, model: type[M], raw: Mapping[str, Any], loc: Loc, stand_ins: Mapping[str, Any]) -> M | None:
        """The table as this model. What is wrong is reported, then set aside, so that the rest is checked too.

        `stand_ins` fill in for required keys; with an error reported, the result only serves further checks.
        """
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
        for item in found:
            self._report(model, raw, loc, item)
        wrong = {item["loc"][0] for item in found if item["loc"]}
        kept = {key: value for key, value in raw.items() if key not in wrong}
        try:
            return model.model_validate({**stand_ins, **kept})
        except ValidationError:
            return None

    def _report(self, model: type[BaseModel], raw: Mapping[str, Any], loc: Loc, item: ErrorDetails) -> None:
        inner, value = _real_loc(raw, item["loc"])
        message = _message(item, value)
        if item["type"] == "extra_forbidden":
            message = unknown_key(str(item["loc"][-1]), _keys_at(model, item["loc"][:-1]))
        about = _ABOUT_KEY.match(message) if item["type"] == "value_error" and not inner else None
        if about and about["key"] in raw:  # said of the table as a whole, for it took several keys to see it
            inner, message = (about["key"],), message[about.end() :]
        self.error((*loc, *inner), message)

    def _problem(self, loc: Loc, message: str) -> Problem:
        return Problem(str(self._file.path), self.line_of(loc), path_text(loc), message)


def choices(values: Iterable[str]) -> str:
    """`"a", "b" or "c"`."""
    quoted = [f'"{value}"' for value in values]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def one_of(values: Iterable[str], given: Any) -> str:
    """What to say where one of few words was expected: them, and which of them is nearest."""
    words = list(values)
    near = get_close_matches(given[:64], words, n=1) if isinstance(given, str) else []
    return f"expected {choices(words)}" + (f'; did you mean "{near[0]}"?' if near else "")


def currency_expected(given: Any) -> str:
    """What to say where a currency was expected."""
    if isinstance(given, str) and is_currency(given.strip().upper()):
        return f'expected three capital letters; did you mean "{given.strip().upper()}"?'
    return 'expected a currency of three capital letters, such as "USD"'


def _message(item: ErrorDetails, value: Any) -> str:
    kind, key = item["type"], str(item["loc"][-1]) if item["loc"] else ""
    if kind == "missing":
        return f"missing; add {key} = … here"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind in ("literal_error", "enum"):
        return one_of(re.findall("'([^']*)'", item["ctx"]["expected"]), value)
    if kind == "string_pattern_mismatch" and item["ctx"]["pattern"] == _CURRENCY:
        return currency_expected(value)
    if kind in _EXPECTED:
        return _EXPECTED[kind].format(key=key)
    # The library's own words, which never hold the value: "Input should be greater than 0".
    return _OWN_WORDS.sub("expected", item["msg"]).replace(" after validation", "")


def _real_loc(raw: Any, loc: Iterable[str | int]) -> tuple[Loc, Any]:
    """The part of a loc that is a path in the file (the library adds names of types), and the value there."""
    path: list[str | int] = []
    parts = list(loc)
    for place, part in enumerate(parts):
        inside = isinstance(raw, Mapping) and part in raw
        element = isinstance(raw, list | tuple) and isinstance(part, int) and part < len(raw)
        if inside or element:
            raw = raw[part]
            path.append(part)
        elif place == len(parts) - 1 and isinstance(raw, Mapping):
            return (*path, part), None
    return tuple(path), raw


def _keys_at(model: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def _place(problem: Problem) -> tuple[int, str]:
    return (problem.line or 0, problem.path)

"""Secrets: by reference in the config, resolved only where they are used, and kept out of every log.

A `SecretRef` says where a secret is; `resolve` reads it; a `Secret` shows itself to nobody who does not ask. The
`Redactor` is the second line: it takes known values out of log records, in whatever form they got there.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import stat
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote, quote_plus

from pydantic import BaseModel, BeforeValidator, PlainSerializer

from alarms.errors import PermanentError

_HIDDEN = "***"
_MAX_BYTES = 64 * 1024
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# The name of a variable without its `env:`; letters alone, so that it is hardly a secret that may not be shown.
_BARE_NAME = re.compile(r"(?:\$?[A-Z]+(?:_[A-Z]+)+|\$[A-Z]+|\$\{[A-Z_]+\})", re.ASCII)
_LONGEST_NAME = 40
_CREDENTIAL = re.compile(r"[A-Za-z0-9_.@-]{1,255}", re.ASCII)
# Shorter than this, a value is too common a piece of text to be taken out of logs.
_SHORTEST = 4
# These print requests, headers and signatures below WARNING.
_TALKATIVE = ("apscheduler", "azure", "boto3", "botocore", "msal", "s3transfer", "slack_sdk", "urllib3")


class Secret:
    """A value that shows `***` wherever it is printed, and cannot be pickled. `reveal` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the value itself: for the call that needs it, never for a variable that lives on."""
        return self._value

    def __str__(self) -> str:
        return _HIDDEN

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(_HIDDEN, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be written down")


class SecretKind(StrEnum):
    """Where a secret is."""

    ENV = "env"
    FILE = "file"
    CREDENTIAL = "credential"
    INLINE = "inline"


@dataclass(frozen=True, slots=True, repr=False)
class SecretRef:
    """A secret as the config names it. `place`: the variable, the path, the credential, or the literal itself."""

    kind: SecretKind
    place: str

    @property
    def inline(self) -> bool:
        """Whether the secret itself stands in the config: accepted, and worth a warning."""
        return self.kind is SecretKind.INLINE

    @contextmanager
    def with_hint(self) -> Iterator[None]:
        """Around a look at an inline value: a ValueError that leaves says too what the author may have meant."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{error}{self._hint()}") from None

    def _hint(self) -> str:
        if not self.inline or len(self.place) > _LONGEST_NAME or not _BARE_NAME.fullmatch(self.place):
            return ""
        return f'; did you mean "{SecretKind.ENV}:{self.place.strip("${}")}"?'

    def resolve(self, environ: Mapping[str, str] = os.environ) -> Secret:
        """Read the secret now. Raises PermanentError with what is missing and what to do."""
        if self.kind is SecretKind.INLINE:
            return Secret(self.place)
        if self.kind is SecretKind.ENV:
            return _from_variable(self.place, environ)
        directory = environ.get("CREDENTIALS_DIRECTORY", "")
        if self.kind is SecretKind.FILE:
            return _from_file(Path(self.place), trusted=bool(directory) and Path(self.place).parent == Path(directory))
        if not directory:
            raise PermanentError(
                f"The secret credential:{self.place} needs $CREDENTIALS_DIRECTORY, which systemd sets: "
                f"add LoadCredential={self.place}:/path to the unit, or use env: or file: here"
            )
        return _from_file(Path(directory, self.place), trusted=True)

    def __str__(self) -> str:
        return _HIDDEN if self.inline else f"{self.kind}:{self.place}"

    def __repr__(self) -> str:
        return f"SecretRef({self})"


def parse_secret(value: Any) -> SecretRef:
    """`env:NAME`, `file:/path`, `credential:NAME`, or the secret itself. Raises ValueError; never echoes the value."""
    if isinstance(value, SecretRef):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError('expected "env:NAME", "file:/path" or "credential:NAME"')
    kind, _, place = value.strip().partition(":")
    if kind == SecretKind.ENV:
        if not _VARIABLE.fullmatch(place):
            raise ValueError('expected the name of an environment variable after "env:", such as "env:SLACK_WEBHOOK"')
        return SecretRef(SecretKind.ENV, place)
    if kind == SecretKind.FILE:
        if not place.startswith("/") or "\0" in place:
            raise ValueError('expected an absolute path after "file:", such as "file:/etc/cloud-budget-monitor/slack"')
        return SecretRef(SecretKind.FILE, place)
    if kind == SecretKind.CREDENTIAL:
        if not _CREDENTIAL.fullmatch(place) or place in (".", ".."):
            raise ValueError(
                'expected the name of a systemd credential after "credential:", such as "credential:slack"'
            )
        return SecretRef(SecretKind.CREDENTIAL, place)
    return SecretRef(SecretKind.INLINE, value.strip())


def secrets_of(settings: BaseModel) -> dict[tuple[str, ...], SecretRef]:
    """Give the secrets of settings, by the path of their key: to warn of inline ones, to tell a `Redactor` of them."""
    found: dict[tuple[str, ...], SecretRef] = {}
    for key, value in settings:
        inner = value if isinstance(value, dict) else {}
        found |= {(key, str(name)): one for name, one in inner.items() if isinstance(one, SecretRef)}
        if isinstance(value, SecretRef):
            found[(key,)] = value
    return found


SecretField = Annotated[SecretRef, BeforeValidator(parse_secret), PlainSerializer(str, return_type=str)]


class Redactor(logging.Filter):
    """Replaces known secrets in log records: message, exception and stack. Add it to every handler.

    (To handlers, since a logger's filter does not see the records of its children.) Known forms: as it is, URL-encoded,
    base64 (alone or inside a longer text), hex, JSON- and Python-escaped; of a URL also its path and query, as HTTP
    libraries log them.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        super().__init__()
        self._forms: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: Secret) -> None:
        """Know these too, from now on."""
        self._forms = self._forms.union(*(_forms(secret.reveal()) for secret in secrets))
        longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, text: str) -> str:
        """Give back the text without any known secret."""
        return text if self._pattern is None else self._pattern.sub(_HIDDEN, text)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record through, cleaned."""
        message = _message(record)
        if (cleaned := self.clean(message)) != message:
            record.msg, record.args = cleaned, None
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text = self.clean("".join(traceback.format_exception(record.exc_info[1])).rstrip("\n"))
            # The text is all that is kept: another formatter would print the exception anew.
            record.exc_info = None
        if record.stack_info:
            record.stack_info = self.clean(record.stack_info)
        return True


def quiet_sdk_logs() -> None:
    """Keep the SDKs' loggers at WARNING or above, whatever level the program logs at."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))


def _from_variable(name: str, environ: Mapping[str, str]) -> Secret:
    value = environ.get(name, "").strip()
    if not value:
        state = "empty" if name in environ else "not set"
        raise PermanentError(f"The environment variable {name} is {state}: export it with the secret as its value")
    return Secret(value)


def _from_file(path: Path, *, trusted: bool) -> Secret:
    try:
        # Not waiting: a named pipe that nobody writes to would hold the start up for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PermanentError(f"The secret file {path} is not a regular file: put the secret alone into one")
            # From systemd 254 on, credentials are 0440 with an ACL: systemd itself keeps that directory private.
            if not trusted and status.st_mode & 0o066:
                raise PermanentError(f"The secret file {path} is open to other users: run chmod 600 {path}")
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise PermanentError(
            f"The secret file {path} cannot be read ({why}): create it, readable by this user"
        ) from error
    if len(data) > _MAX_BYTES:
        limit = f"{_MAX_BYTES // 1024} KiB"
        raise PermanentError(f"The secret file {path} is larger than {limit}: put the secret alone into it")
    return _secret_text(data, path)


def _secret_text(data: bytes, path: Path) -> Secret:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # Without the cause: it would hold the bytes.
        raise PermanentError(f"The secret file {path} is not UTF-8 text: write the secret as plain text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise PermanentError(f"The secret file {path} is empty: put the secret into it")
    return Secret(text)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # logging would print the raw arguments to stderr, secrets included.
        record.msg, record.args = f"{record.msg} (its arguments do not fit)", None
        return record.getMessage()


def _forms(value: str) -> set[str]:
    raw = {value, *_parts(value)}
    # Twice: what is in a JSON body is escaped once more where that body is printed.
    escaped = {twice for text in raw for once in _escaped(text) for twice in _escaped(once)}
    encoded = escaped.union(*(_base64_forms(text.encode()) for text in raw))
    forms = encoded.union(*({text.encode().hex(), text.encode().hex().upper()} for text in raw))
    return {form for form in forms if len(form) >= _SHORTEST}


def _parts(value: str) -> Iterator[str]:
    """What of a secret is one by itself: of a URL what follows the host, of `Bearer TOKEN` the token."""
    parts = value.split() if " " in value else []
    if "://" in value:
        # Not `urlsplit`, which raises for some; an HTTP library logs the path and the query together or apart.
        after_host = "/" + value.partition("://")[2].partition("/")[2]
        path, _, query = after_host.partition("?")
        parts += [after_host, path, path.rpartition("/")[2], query]
        parts += [pair.rpartition("=")[2] for pair in query.split("&")]
    # Shorter ones are too common as pieces of text.
    return (part for part in parts if len(part) >= 2 * _SHORTEST)


def _escaped(text: str) -> set[str]:
    return {
        text,
        quote(text),
        quote(text, safe=""),
        quote_plus(text),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
    }


def _base64_forms(value: bytes) -> set[str]:
    """Base64 of the value at each of the three places it can start inside a longer text, without its mixed edges."""
    forms = set()
    for before, mixed in ((0, 0), (1, 2), (2, 3)):
        data = b"\0" * before + value
        text = base64.b64encode(data).decode().rstrip("=")
        core = text[mixed:] if len(data) % 3 == 0 else text[mixed:-1]
        # Shorter pieces would be found by chance in words.
        if len(core) >= 2 * _SHORTEST:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms

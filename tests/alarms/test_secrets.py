from __future__ import annotations

import base64
import copy
import io
import json
import logging
import os
import pickle
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from pydantic import ValidationError

from alarms.errors import PermanentError
from alarms.secrets import (
    Redactor,
    Secret,
    SecretField,
    SecretKind,
    SecretRef,
    parse_secret,
    quiet_sdk_logs,
    secrets_of,
)
from alarms.settings import StrictModel

CANARY = 'ca"na ry/é+7%\\end'
HOOK = "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx"


class Settings(StrictModel):
    password: SecretField


def secret_file(path: Path, data: bytes, *, mode: int = 0o600) -> SecretRef:
    path.write_bytes(data)
    path.chmod(mode)
    return parse_secret(f"file:{path}")


def test_secret_shows_itself_nowhere() -> None:
    secret = Secret(CANARY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>5}",
        json.dumps({"a": secret}, default=str),
        repr([secret]),
    ]
    assert all("***" in text and "ca" not in text for text in shown)
    assert secret.reveal() == CANARY
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)


def test_reference_shows_where_but_a_literal_is_hidden() -> None:
    assert repr(parse_secret("env:TOKEN")) == "SecretRef(env:TOKEN)"
    literal = parse_secret(CANARY)
    assert literal.inline
    assert not parse_secret("env:TOKEN").inline
    assert "ca" not in repr(literal) + str(literal)
    settings = Settings.model_validate({"password": CANARY})
    assert "na ry" not in repr(settings) + settings.model_dump_json() + str(settings.model_dump())
    assert settings.password.resolve({}).reveal() == CANARY


def test_secrets_of_finds_those_in_tables_too() -> None:
    class WithTable(StrictModel):
        headers: dict[str, SecretField]
        password: SecretField
        name: str = "x"

    made = WithTable.model_validate({"password": "env:A", "headers": {"X": "literal"}})
    found = {path: reference.inline for path, reference in secrets_of(made).items()}
    assert found == {("headers", "X"): True, ("password",): False}


@pytest.mark.parametrize(
    "bad", ["", "  ", "env:", "env:A-B", "file:relative", "file:", "credential:../x", "credential:..", 7]
)
def test_bad_reference_is_refused_without_an_echo(bad: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"password": bad})
    assert "expected" in str(caught.value)
    assert "A-B" not in str(caught.value)


def test_a_url_is_a_literal() -> None:
    assert parse_secret(HOOK).kind is SecretKind.INLINE


def test_env() -> None:
    ref = parse_secret("env:TOKEN")
    assert ref.resolve({"TOKEN": "abc"}).reveal() == "abc"
    with pytest.raises(PermanentError, match="TOKEN is not set"):
        ref.resolve({})
    with pytest.raises(PermanentError, match="TOKEN is empty"):
        ref.resolve({"TOKEN": ""})


def test_env_defaults_to_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBM_TEST_TOKEN", "abc")
    assert parse_secret("env:CBM_TEST_TOKEN").resolve().reveal() == "abc"


@pytest.mark.parametrize(
    ("data", "value"), [(b"abc", "abc"), (b"abc\n", "abc"), (b"abc\r\n", "abc"), (b"abc\n\n", "abc\n")]
)
def test_file_loses_one_trailing_newline(tmp_path: Path, data: bytes, value: str) -> None:
    assert secret_file(tmp_path / "s", data).resolve({}).reveal() == value


@pytest.mark.parametrize(
    ("data", "mode", "why"),
    [
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"abc", 0o640, "chmod 600"),
        (b"abc", 0o604, "chmod 600"),
        (b"abc", 0o602, "chmod 600"),
        (b"\xff\xfe", 0o600, "not UTF-8"),
        (b"a" * 70_000, 0o600, "larger than 64 KiB"),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, data: bytes, mode: int, why: str) -> None:
    with pytest.raises(PermanentError, match=why):
        secret_file(tmp_path / "s", data, mode=mode).resolve({})


def test_file_that_is_not_there_or_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="No such file"):
        parse_secret(f"file:{tmp_path}/none").resolve({})
    with pytest.raises(PermanentError, match="Is a directory"):
        parse_secret(f"file:{tmp_path}").resolve({})
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(PermanentError, match="not a regular file"):
        parse_secret(f"file:{tmp_path}/pipe").resolve({})


def test_credential(tmp_path: Path) -> None:
    secret_file(tmp_path / "slack", b"abc\n", mode=0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert parse_secret("credential:slack").resolve(environ).reveal() == "abc"
    assert parse_secret(f"file:{tmp_path}/slack").resolve(environ).reveal() == "abc"
    with pytest.raises(PermanentError, match="LoadCredential=slack"):
        parse_secret("credential:slack").resolve({})
    with pytest.raises(PermanentError, match="chmod 600"):
        parse_secret(f"file:{tmp_path}/slack").resolve({})


class Captured:
    """A handler with the redactor, and what it wrote."""

    def __init__(self, *secrets: Secret) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.redactor = Redactor(secrets)
        self.handler.addFilter(self.redactor)
        self.logger = logging.Logger("test")
        self.logger.addHandler(self.handler)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.mark.parametrize(
    "form",
    [
        CANARY,
        quote(CANARY),
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        json.dumps(CANARY)[1:-1],
        json.dumps(CANARY, ensure_ascii=False)[1:-1],
        repr(CANARY)[1:-1],
        base64.b64encode(CANARY.encode()).decode(),
        base64.urlsafe_b64encode(CANARY.encode()).decode(),
    ],
)
def test_redactor_knows_every_form(form: str) -> None:
    log = Captured(Secret(CANARY))
    log.logger.warning("sent value=%s to %s", form, "x")
    assert form not in log.text
    assert log.text.startswith("sent value=***")


@pytest.mark.parametrize("user", ["a", "ab", "abc", "monitor@example.com"])
def test_redactor_finds_base64_inside_a_longer_text(user: str) -> None:
    log = Captured(Secret("hunter2-and-more"))
    login = base64.b64encode(f"\0{user}\0hunter2-and-more".encode()).decode()
    log.logger.warning("AUTH PLAIN %s", login)
    assert login not in log.text
    assert "***" in log.text


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("https://example.com/a/hunter2-path?token=hunter2-query&x=1", "GET /a/hunter2-path?token=hunter2-query&x=1"),
        ("https://example.com/?token=hunter2-query", "token was hunter2-query"),
        ("https://example.com/hunter2-path?x=1", "path was hunter2-path"),
        ("https://[hunter2-no-url/hunter2-path", "path was hunter2-path"),
        ("Bearer hunter2-token", "the token hunter2-token"),
        ("hunter2-and-more", b"hunter2-and-more".hex()),
        ("hunter2-and-more", b"hunter2-and-more".hex().upper()),
        ('hunter2"and\\more', repr(json.dumps({"a": 'hunter2"and\\more'}).encode())),
    ],
)
def test_redactor_knows_parts_and_what_is_escaped_twice(secret: str, text: str) -> None:
    log = Captured(Secret(secret))
    log.logger.warning("%s", text)
    assert "hunter2" not in log.text
    assert b"hunter2".hex() not in log.text.lower()
    assert "***" in log.text


def test_redactor_cleans_exceptions_stacks_and_bad_arguments() -> None:
    log = Captured(Secret(HOOK))
    error = RuntimeError("outer /services/T00000000/B00000000/abcdefghijklmnopqrstuvwx")
    error.__cause__ = ValueError(f"inner {HOOK}")
    log.logger.error("failed", exc_info=error, stack_info=True)
    log.logger.error("%d is no number", HOOK)
    assert "abcdefghijkl" not in log.text
    assert "RuntimeError: outer ***" in log.text
    assert "ValueError: inner ***" in log.text
    assert "%d is no number (its arguments do not fit)" in log.text


def test_redactor_leaves_no_exception_for_another_formatter() -> None:
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, None)
    error = ValueError(HOOK)
    record.exc_info = (ValueError, error, None)
    assert Redactor([Secret(HOOK)]).filter(record)
    assert record.exc_info is None
    assert record.exc_text == "ValueError: ***"


def test_redactor_leaves_the_rest_alone() -> None:
    log = Captured(Secret("abc"), Secret(""), Secret("https://example.com/ping"))
    log.logger.warning("abc %s", "ping and example.com")
    assert log.text == "abc ping and example.com\n"
    log.redactor.add(Secret("example.com"))
    log.logger.warning("at example.com")
    assert log.text.endswith("at ***\n")


def test_sdk_logs_are_quiet() -> None:
    names = ("botocore", "urllib3", "slack_sdk", "apscheduler")
    before = {name: logging.getLogger(name).level for name in names}
    try:
        logging.getLogger("botocore").setLevel(logging.DEBUG)
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        quiet_sdk_logs()
        assert not logging.getLogger("botocore.auth").isEnabledFor(logging.INFO)
        assert all(not logging.getLogger(f"{name}.x").isEnabledFor(logging.INFO) for name in names)
        assert logging.getLogger("urllib3").level == logging.ERROR
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)

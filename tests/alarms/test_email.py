from __future__ import annotations

import threading
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alarms.errors import PermanentError, TemporaryError
from alarms.notifiers.email import Settings, compose, create
from alarms.render import render
from monitor.simulation.mail import MailServer
from tests.contract.receivers import mail_settings, secure_mail_settings
from tests.fakes.messages import FACTS, MESSAGE, NOW, OWN
from tests.fakes.smtp_server import Behaviour, ScriptedMailServer


def settings(port: int = 587, **more: Any) -> Settings:
    return Settings.model_validate(mail_settings(port, **more))


def composed(**more: Any) -> Any:
    message = replace(MESSAGE, **more)
    sent = compose(message, render(message, now=NOW), settings())
    return message_from_bytes(sent.as_bytes(), policy=policy.default)


def test_one_refused_recipient_is_reported_and_the_others_get_it() -> None:
    behaviour = Behaviour(recipients={"ml-leads@example.com": "550 5.1.1 no such user"})
    with ScriptedMailServer(behaviour) as server:
        receipt = create(settings(server.port), now=lambda: NOW).send(MESSAGE)
        assert receipt.refused == ("ml-leads@example.com",)
        assert [mail.recipients for mail in server.mails] == [("oncall@example.com",)]


@pytest.mark.parametrize(("later", "refused"), [(None, ()), ("550 5.1.1 no such user", ("ml-leads@example.com",))])
def test_a_recipient_put_off_is_asked_again_alone(later: str | None, refused: tuple[str, ...]) -> None:
    behaviour = Behaviour(recipients={"ml-leads@example.com": "451 4.7.1 greylisted"})
    with ScriptedMailServer(behaviour) as server:
        notifier = create(settings(server.port), now=lambda: NOW)
        for _ in range(2):
            with pytest.raises(TemporaryError) as caught:
                notifier.send(MESSAGE)
        assert caught.value.retry_after is None
        assert [mail.recipients for mail in server.mails] == [("oncall@example.com",)]
        behaviour.recipients.clear()
        if later is not None:
            behaviour.recipients["ml-leads@example.com"] = later
        assert notifier.send(MESSAGE).refused == refused
        got = [recipient for mail in server.mails for recipient in mail.recipients]
        assert sorted(got) == sorted({"oncall@example.com", "ml-leads@example.com"} - set(refused))


def test_implicit_tls_and_login(tmp_path: Path) -> None:
    with ScriptedMailServer(Behaviour(tls="implicit")) as server:
        wanted = secure_mail_settings(server, tmp_path) | {"username": None, "password": None}
        create(Settings.model_validate(wanted), now=lambda: NOW).send(MESSAGE)
        assert len(server.mails) == 1


def test_login_is_sent_over_starttls(tmp_path: Path) -> None:
    with ScriptedMailServer(Behaviour(tls="starttls", login=("monitor", "canary-5up3r-s3cr3t"))) as server:
        create(Settings.model_validate(secure_mail_settings(server, tmp_path)), now=lambda: NOW).send(MESSAGE)
        assert server.logins == [("monitor", "canary-5up3r-s3cr3t")]


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    with ScriptedMailServer(Behaviour(tls="starttls", login=("monitor", "x"))) as server:
        wanted = secure_mail_settings(server, tmp_path) | {"ca_file": None}
        with pytest.raises(PermanentError, match="certificate was refused"):
            create(Settings.model_validate(wanted), now=lambda: NOW).send(MESSAGE)
        assert server.logins == []


def test_public_only_unless_allowed() -> None:
    with MailServer() as server:
        wanted = settings(server.port, tls="starttls", allow_private=False)
        with pytest.raises(PermanentError, match="allow_private"):
            create(wanted, now=lambda: NOW).send(MESSAGE)


def test_simulated_server_calls_back() -> None:
    heard = threading.Event()
    with MailServer(lambda mail: heard.set()) as server:
        create(settings(server.port), now=lambda: NOW).send(MESSAGE)
        assert heard.is_set()
        assert server.mails[0].sender == "budget@example.com"


def test_a_repeat_has_the_same_message_id_and_an_episode_is_one_thread() -> None:
    first, again = composed(), composed(possible_repeat=True)
    repeat = composed(id="4f2a9c01d7be/actual-100pct-critical/2")
    other = composed(id="aaaaaaaaaaaa/actual-100pct-critical/1")
    assert first["Message-ID"] == "<4f2a9c01d7be/actual-100pct-critical/1@example.com>"
    assert again["Message-ID"] == first["Message-ID"]
    assert repeat["Message-ID"] != first["Message-ID"]
    assert first["References"] == repeat["References"] == repeat["In-Reply-To"] == "<4f2a9c01d7be@example.com>"
    assert other["References"] != first["References"]
    assert first["Date"].datetime == NOW
    assert first["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("identity", ["a b/c/1", "é/x/1", "x" * 500 + "/l/1", "<>/l/1", "", ".a/l/1"])
def test_any_id_makes_a_valid_message_id(identity: str) -> None:
    message = composed(id=identity)
    text = str(message["Message-ID"])
    assert text.startswith("<")
    assert text.endswith("@example.com>")
    assert len(text) < 80
    assert message["Message-ID"].defects == ()


@pytest.mark.parametrize(
    "word", ["=?utf-8?q?=0D=0ABcc:_evil@example.com?=", "=?utf-8?b?CkJjYzogZXZpbEBleGFtcGxlLmNvbQ==?="]
)
def test_an_encoded_word_in_a_name_is_no_header(word: str) -> None:
    """The email package of Python 3.11.7 decodes it and writes the line break that is in it."""
    for facts in (replace(FACTS, budget=word), replace(OWN, title=word)):
        raw = compose(
            replace(MESSAGE, facts=facts), render(replace(MESSAGE, facts=facts), now=NOW), settings()
        ).as_bytes()
        assert b"\nBcc" not in raw
        assert "Bcc" not in message_from_bytes(raw, policy=policy.default)


def test_a_long_domain_does_not_break_the_message_id() -> None:
    wanted = settings(sender=f"budget@{'a' * 60}.{'b' * 60}.example")
    raw = compose(MESSAGE, render(MESSAGE, now=NOW), wanted).as_bytes()
    assert b"Message-ID: <4f2a9c01d7be/actual-100pct-critical/1@aaaa" in raw
    assert b"=?utf-8?" not in raw


def test_body_survives_unicode_dots_and_long_lines() -> None:
    facts = replace(FACTS, budget="Entraînement 模型", detail=".\n" + "word " * 300)
    message = replace(MESSAGE, facts=facts)
    with MailServer() as server:
        create(settings(server.port), now=lambda: NOW).send(message)
        (mail,) = server.mails
    assert mail.message.get_content().replace("\r\n", "\n") == render(message, now=NOW).text
    assert max(len(line) for line in mail.raw.splitlines()) <= 998
    assert mail.raw.isascii()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"tls": "none", "allow_private": False}, "only with allow_private"),
        ({"username": "u", "password": "p"}, "in the clear"),
        ({"tls": "starttls", "username": "u"}, "go together"),
        ({"tls": "starttls", "password": "p"}, "go together"),
        ({"tls": "starttls", "username": "ü", "password": "p"}, "not ASCII"),
        ({"to": []}, "at least 1"),
        ({"to": "a@example.com"}, "list"),
        ({"to": ["a@example.com\r\nBcc: b@example.com"]}, "plain address"),
        ({"sender": "Budget <a@example.com>"}, "plain address"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"host": "a b"}, "name of a mail server"),
        ({"tls": "ssl"}, "starttls"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        settings(**wrong)


def test_unusable_files_and_passwords_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="ca_file"):
        create(settings(ca_file=str(tmp_path / "none.pem")), now=lambda: NOW)
    (tmp_path / "junk.pem").write_text("junk")
    with pytest.raises(PermanentError, match="ca_file"):
        create(settings(ca_file=str(tmp_path / "junk.pem")), now=lambda: NOW)
    with pytest.raises(PermanentError, match="not ASCII") as caught:
        create(settings(tls="starttls", username="u", password="pässwörd"), now=lambda: NOW)
    assert "ssw\u00f6rd" not in str(caught.value)

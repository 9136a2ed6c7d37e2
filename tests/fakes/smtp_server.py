"""The simulated mail server with TLS, a login, and scripted refusals."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any, Literal

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from monitor.simulation.mail import Mail, MailServer


@dataclass
class Behaviour:
    """What the server does. `recipients`: the answers to RCPT by address; `mail`, `data`: to MAIL, to the message."""

    tls: Literal["starttls", "implicit", "none"] = "none"
    login: tuple[str, str] | None = None
    auth_answer: str | None = None
    recipients: dict[str, str] = field(default_factory=dict)
    mail: str | None = None
    data: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"


class ScriptedMailServer(MailServer):
    """A mail server that behaves as told. `ca` signs its certificate, which names `behaviour.host`."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        super().__init__()
        self.behaviour = behaviour or Behaviour()
        self.ca = trustme.CA()
        self.logins: list[tuple[str, str]] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(self.behaviour.host).configure_cert(self._context)

    def take(self, mail: Mail) -> str:
        if self.behaviour.data:
            return self.behaviour.data.pop(0)
        return super().take(mail)

    def tls(self) -> ssl.SSLContext | None:
        return self._context if self.behaviour.tls == "implicit" else None

    def protocol(self) -> asyncio.BaseProtocol:
        starttls = self.behaviour.tls == "starttls"
        return SMTP(
            self,
            hostname="mail.test",
            loop=self._loop,
            tls_context=self._context if starttls else None,
            require_starttls=starttls,
            authenticator=self._authenticate if self.behaviour.login else None,
            auth_required=self.behaviour.login is not None,
            auth_require_tls=self.behaviour.tls == "starttls",
        )

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.behaviour.mail is not None:
            return self.behaviour.mail
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.behaviour.recipients:
            return self.behaviour.recipients[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        self.logins.append(given)
        if self.behaviour.auth_answer is not None:
            return AuthResult(success=False, handled=False, message=self.behaviour.auth_answer)
        return AuthResult(success=given == self.behaviour.login, handled=False)

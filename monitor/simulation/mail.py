"""A mail server on loopback, which keeps what is sent to it."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True)
class Mail:
    """One message as it was taken: the envelope and the parsed content."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage
    raw: bytes


class MailServer:
    """Takes every mail, without TLS or login. Use as a context.

    `mails` are those taken, oldest first; `on_mail` is called with each, from the server's thread.
    """

    def __init__(self, on_mail: Callable[[Mail], None] | None = None) -> None:
        self.mails: list[Mail] = []
        self.port = 0
        self._on_mail = on_mail
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def take(self, mail: Mail) -> str:
        """Keep one mail and give the answer to its DATA."""
        self.mails.append(mail)
        if self._on_mail is not None:
            self._on_mail(mail)
        return "250 2.0.0 taken"

    def protocol(self) -> asyncio.BaseProtocol:
        """Make the protocol of one connection."""
        return SMTP(self, hostname="mail.simulated", loop=self._loop)

    def tls(self) -> Any:
        """Give the TLS context of the listening socket: none here."""
        return None

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802, ARG002 - aiosmtpd's name and arguments
        """Take a mail, as aiosmtpd asks its handler to."""
        raw = bytes(envelope.original_content or b"")
        parsed = email.message_from_bytes(raw, policy=email.policy.default)
        message = parsed if isinstance(parsed, EmailMessage) else EmailMessage()
        return self.take(Mail(str(envelope.mail_from), tuple(envelope.rcpt_tos), message, raw))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        # aiosmtpd's own Controller cannot listen on port 0.
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._loop.create_server(self.protocol, "127.0.0.1", 0, ssl=self.tls()))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(server.wait_closed())
        self._loop.close()

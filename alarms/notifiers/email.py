"""E-mail, by a mail server that takes submissions."""

from __future__ import annotations

import hashlib
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from alarms.clients.sockets import Deadline, connect
from alarms.errors import AccessError, OutsideError, PermanentError, TemporaryError
from alarms.model import Notification, Receipt
from alarms.ports import Notifier
from alarms.render import Rendered, render
from alarms.secrets import Secret, SecretField
from alarms.settings import ReceiverSettings

DEADLINE_S = 30.0
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}", re.ASCII)
# What may stand before the @ of a Message-ID as it is.
_PLAIN_ID = re.compile(r"[A-Za-z0-9_/-]+(\.[A-Za-z0-9_/-]+)*", re.ASCII)
_SHORT_ID = 60
_SMTP_CODES = 200
_GO_AHEAD = 354
_PERMANENT = 500
# Authentication required, mechanism too weak, credentials invalid.
_AUTHENTICATION = frozenset((530, 534, 535, 538))


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError('expected a plain address such as "ml-leads@example.com"')
    return text


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError('expected the name of a mail server, such as "smtp.example.com"')
    return text


Address = Annotated[str, AfterValidator(_address)]


class Settings(ReceiverSettings):
    """`ca_file`: the authority that signed the server's certificate, beside those of the system."""

    host: Annotated[str, AfterValidator(_host)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    sender: Address
    to: Annotated[list[Address], Field(min_length=1, max_length=50)]
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    username: str | None = None
    password: SecretField | None = None
    ca_file: str | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.tls == "none" and not self.allow_private:
            raise ValueError('tls = "none" is accepted only with allow_private = true: use "starttls" or "implicit"')
        if self.tls == "none" and self.password is not None:
            raise ValueError('a password would travel in the clear with tls = "none": remove it or use TLS')
        if self.username is not None and not self.username.isascii():
            raise ValueError("username is not ASCII, which SMTP logins need")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together: give both or neither")
        return self


def create(
    settings: Settings, *, now: Callable[[], datetime], timezone: tzinfo = UTC, deadline_s: float = DEADLINE_S
) -> Notifier:
    """Make the notifier, resolving its secret. Raises PermanentError if the secret or `ca_file` is unusable."""
    password = None if settings.password is None else settings.password.resolve()
    if password is not None and not password.reveal().isascii():
        # smtplib's UnicodeEncodeError would carry it.
        raise PermanentError("the password is not ASCII, which SMTP logins need: choose another one")
    return EmailNotifier(settings, password, _tls_context(settings), now, timezone, deadline_s)


@dataclass(frozen=True, slots=True)
class EmailNotifier:
    """Submits to one server."""

    settings: Settings
    password: Secret | None
    context: ssl.SSLContext
    now: Callable[[], datetime]
    timezone: tzinfo
    deadline_s: float
    taken: dict[str, set[str]] = field(default_factory=dict)

    def send(self, notification: Notification) -> Receipt:
        """Submit once, for all recipients; those refused while others are not are in the receipt."""
        rendered = render(notification, now=self.now(), timezone=self.timezone)
        message = compose(notification, rendered, self.settings)
        session: _Session | None = None
        with Deadline(self.deadline_s) as deadline:
            session = _Session(self.settings, self.context, deadline)
            try:
                refused = self._submit(session, message, self._left(notification))
            except (OSError, smtplib.SMTPException) as error:
                if notification.id not in self.taken or not isinstance(error, smtplib.SMTPRecipientsRefused):
                    raise _failure(error, session, deadline) from error
                # Others have it already: what remains is about these alone.
                refused = _codes(error.recipients)
            finally:
                session.close()
        return self._receipt(notification, str(message["Message-ID"]), refused)

    def _left(self, notification: Notification) -> list[str]:
        """Who has not taken this message yet."""
        return [address for address in self.settings.to if address not in self.taken.get(notification.id, ())]

    def _receipt(self, notification: Notification, remote_id: str, refused: Mapping[str, int]) -> Receipt:
        """Raise TemporaryError as long as some recipients are only put off; the others are not asked again."""
        put_off = {address for address, code in refused.items() if code < _PERMANENT}
        if put_off:
            self.taken.setdefault(notification.id, set()).update(set(self._left(notification)) - put_off)
            # A crash forgets who has taken it: then all get it once more, and it must say so.
            raise TemporaryError(f"the mail server put off {', '.join(sorted(put_off))}", uncertain=True)
        self.taken.pop(notification.id, None)
        return Receipt(remote_id=remote_id, refused=tuple(sorted(refused)))

    def _submit(self, session: _Session, message: EmailMessage, recipients: list[str]) -> dict[str, int]:
        session.open()
        if self.settings.tls == "starttls":
            session.starttls(context=self.context)
        if self.password is not None and self.settings.username is not None:
            session.login(self.settings.username, self.password.reveal())
        refused = session.send_message(message, self.settings.sender, recipients)
        session.leave()
        return _codes(refused)


def _codes(refused: Mapping[str, tuple[int, bytes]]) -> dict[str, int]:
    return {address: code for address, (code, _) in refused.items()}


def compose(notification: Notification, rendered: Rendered, settings: Settings) -> EmailMessage:
    """Write the mail: the same Message-ID for a repeat, one thread for an episode."""
    domain = settings.sender.rpartition("@")[2]
    # Unfolded up to RFC 5322's limit: Python folds a Message-ID into something that is none.
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit", max_line_length=990))
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(notification.created_at)
    message["Message-ID"] = _message_id(notification.id, domain)
    # Nobody knows which message of an episode came first here; a common ancestor that never was sent threads them.
    thread = _message_id(notification.id.rpartition("/")[0].rpartition("/")[0] or notification.id, domain)
    message["References"] = thread
    message["In-Reply-To"] = thread
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
    message.set_content(rendered.text)
    return message


def _message_id(text: str, domain: str) -> str:
    if not _PLAIN_ID.fullmatch(text) or len(text) > _SHORT_ID:
        text = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
    return f"<{text}@{domain}>"


def _tls_context(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except OSError as error:
            raise PermanentError(f"ca_file {settings.ca_file} is not a readable PEM file of certificates") from error
    return context


class _Session(smtplib.SMTP):
    """An SMTP session on a bounded connection, which knows whether its message may have been taken."""

    def __init__(self, settings: Settings, context: ssl.SSLContext, deadline: Deadline) -> None:
        # The sender's domain as our name: getfqdn would ask the DNS, without a timeout.
        super().__init__(local_hostname=settings.sender.rpartition("@")[2])
        self._settings = settings
        self._context = context
        self._deadline = deadline
        self._host = settings.host  # what STARTTLS verifies; smtplib sets it only when its constructor connects
        self.answers = 0
        self.may_be_taken = False

    def open(self) -> None:
        """Connect and read the greeting."""
        code, text = self.connect(self._settings.host, self._settings.port)
        if code != 220:  # noqa: PLR2004 - service ready
            raise smtplib.SMTPConnectError(code, text)

    def leave(self) -> None:
        """Say goodbye. The message is theirs already: nothing depends on the answer."""
        try:
            self.putcmd("quit")
        except (OSError, smtplib.SMTPException):
            return

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply, noting the time from "go ahead" to the answer to the message: lost then is uncertain."""
        reply = super().getreply()
        self.answers += 1
        self.may_be_taken = reply[0] == _GO_AHEAD or (self.may_be_taken and reply[0] < _SMTP_CODES)
        return reply

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:  # noqa: ARG002 - the deadline
        # The place that SMTP_SSL, too, overrides to bring its own connection.
        connection = connect(host, port, deadline=self._deadline, allow_private=self._settings.allow_private)
        if self._settings.tls != "implicit":
            return connection
        try:
            return self._context.wrap_socket(connection, server_hostname=host)
        except OSError:
            connection.close()
            raise


def _failure(error: Exception, session: _Session, deadline: Deadline) -> OutsideError:
    # The server's own words stay in the cause: they may quote what we sent.
    match error:
        case smtplib.SMTPRecipientsRefused():
            return _all_refused(error)
        case smtplib.SMTPResponseException():
            return _refused(error, session)
        case smtplib.SMTPNotSupportedError():
            return PermanentError("The mail server lacks what is configured (STARTTLS or a login): check tls and port")
        case ssl.SSLCertVerificationError():
            return PermanentError(
                f"The mail server's certificate was refused ({error.verify_message}): "
                "it has to be valid for host, or its authority named in ca_file"
            )
    if deadline.expired or isinstance(error, TimeoutError):
        what = f"did not answer within {deadline.seconds:g} s"
    else:
        what = "broke off" if session.answers else "broke off before its greeting: check host, port and tls"
    return TemporaryError(f"The mail server {what}", uncertain=session.may_be_taken)


def _all_refused(error: smtplib.SMTPRecipientsRefused) -> OutsideError:
    codes = {code for code, _ in error.recipients.values()}
    text = f"The mail server refused every recipient (code {', '.join(str(code) for code in sorted(codes))})"
    if any(code < _PERMANENT for code in codes):
        return TemporaryError(f"{text} for now")
    return PermanentError(f"{text}: check the addresses in to")


def _refused(error: smtplib.SMTPResponseException, session: _Session) -> OutsideError:
    code = error.smtp_code
    if code < _SMTP_CODES or error.smtp_error == "Line too long.":
        text = "The mail server does not speak SMTP: check host, port and tls"
        return TemporaryError(text, uncertain=session.may_be_taken)
    if code in _AUTHENTICATION:
        return AccessError(f"The mail server refused the login (code {code}): check username, password and tls")
    if code < _PERMANENT:
        return TemporaryError(f"The mail server cannot take the message now (code {code})")
    only_this_one = isinstance(error, smtplib.SMTPDataError)
    return PermanentError(f"The mail server refused the message (code {code})", whole_receiver=not only_this_one)

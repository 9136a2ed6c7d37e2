"""Google Cloud: credentials, sessions, and what their errors mean. Types of the SDKs stop here.

Credentials are found as every Google tool finds them: `GOOGLE_APPLICATION_CREDENTIALS`, `gcloud auth
application-default login`, workload identity, the service account of the machine; `HTTPS_PROXY` is honoured.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from alarms.clients.http import parse_retry_after
from alarms.clients.tls import is_untrusted
from alarms.errors import (
    AccessError,
    BadDataError,
    MissingExtraError,
    OutsideError,
    PermanentError,
    TemporaryError,
    UnreachableError,
)

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
# Further tries of one call inside a read; the next read comes soon enough.
_FURTHER_TRIES = 2
_FIRST_WAIT_S = 0.3
_REASON = re.compile(r"[A-Za-z_]{1,40}", re.ASCII)
_PERMISSION = re.compile(r"\b(bigquery|billing|pubsub|serviceusage|resourcemanager)\.[a-z]+\.[a-zA-Z]+\b", re.ASCII)
_NOT_ENABLED = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})
_NO_BILLING = frozenset({"billingNotEnabled", "BILLING_DISABLED", "billingTierLimitExceeded"})
_THROTTLED = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"})
_QUOTA = frozenset({"quotaExceeded", "dailyLimitExceeded"})
_OURS_TO_RETRY = frozenset({"backendError", "internalError", "badGateway", *_THROTTLED})
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER = 401, 403, 404, 429, 500
_LATER = (_TOO_MANY, 503)
# gRPC's UNAVAILABLE and DEADLINE_EXCEEDED, which no HTTP answer stands behind: of a connection, not of a server.
_UNHEARD = (503, 504)


@dataclass(frozen=True, slots=True)
class Doing:
    """What was being done, for the error that it may end in: `what` of which service, the permission that it needs.

    `api`: the API to enable (`bigquery.googleapis.com`) in `project`; `needs`: the permission and on what.
    """

    what: str
    service: str
    api: str
    project: str
    needs: str

    @property
    def thing(self) -> str:
        """What it is done to, as `needs` names it last: `subscription projects/p/subscriptions/s`."""
        return self.needs.rpartition(" on ")[2]


class Session:
    """An HTTP session with Google's own way to find and renew credentials; made when it is first used.

    `calls`: requests sent so far, those for tokens aside.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._made: tuple[Any, Any] | None = None

    def open(self, doing: Doing) -> tuple[Any, Any]:
        """(an AuthorizedSession, its credentials). Raises OutsideError, MissingExtraError without the SDK."""
        if self._made is None:
            with translated(doing):
                self._made = self._make()
        return self._made

    def close(self) -> None:
        """Let go of its connections."""
        if self._made is not None:
            self._made[0].close()

    def _make(self) -> tuple[Any, Any]:
        import google.auth.transport.requests

        from alarms.clients.gcp_answers import bounded

        credentials = default_credentials()
        transport: Any = google.auth.transport.requests
        session = transport.AuthorizedSession(credentials)
        for scheme in ("https://", "http://"):
            session.mount(scheme, bounded(self._count))
        return session, credentials

    def _count(self) -> None:
        self.calls += 1


def credentials_of(doing: Doing) -> Any:
    """The default credentials, for a client that keeps its own connection. Raises OutsideError."""
    with translated(doing):
        return default_credentials()


def default_credentials() -> Any:
    """As google-auth finds them, and raises if it does not."""
    import google.auth

    credentials, _ = google.auth.default(scopes=list(SCOPES))
    return credentials


def retry(seconds: float) -> Any:
    """How often a call is tried again: twice, soon, within `seconds`, and not when the other side asks us to wait."""
    from google.api_core.retry import Retry

    tries = itertools.count()

    def again(error: BaseException) -> bool:
        return _is_passing(error) and next(tries) < _FURTHER_TRIES

    return Retry(predicate=again, initial=_FIRST_WAIT_S, maximum=2.0, multiplier=2.0, timeout=seconds)


@contextmanager
def translated(doing: Doing) -> Iterator[None]:
    """Around calls of an SDK: what they raise leaves as an OutsideError."""
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.protobuf.json_format import Error as FormatError
    except ImportError as error:
        raise MissingExtraError(
            "the packages of Google Cloud are not installed: pip install 'cloud-budget-monitor[gcp]'"
        ) from error
    try:
        yield
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise translate(error, doing) from error
    except (ArithmeticError, AttributeError, FormatError, LookupError, RecursionError, TypeError, ValueError) as error:
        # What the SDK falls over: no JSON, or JSON of another shape.
        raise BadDataError(f"what answered {doing.what} was not {doing.service}, or its answer is damaged") from error


def translate(error: Exception, doing: Doing) -> OutsideError:
    """What an error of an SDK means for whoever has to decide about another try."""
    import requests.exceptions
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, RetryError) and isinstance(error.cause, Exception):
        return translate(error.cause, doing)
    if isinstance(error, GoogleAPICallError):
        return _refused(error, doing)
    if isinstance(error, GoogleAuthError):
        return _not_let_in(error, doing)
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return BadDataError(f"what answered {doing.what} was not {doing.service}, or its answer is damaged")
    return _not_answered(error, doing)


def status_of(error: BaseException) -> int:
    """The HTTP status of an error of Google's SDKs; 0 if it has none."""
    code = getattr(error, "code", None)
    return int(code) if isinstance(code, int) else 0


def reason_of(error: Any) -> str:
    """Google's word for it (`accessDenied`), "" if it gave none that is one."""
    found = [detail.get("reason") for detail in getattr(error, "errors", None) or () if isinstance(detail, dict)]
    found.append(getattr(error, "reason", None))
    return next((word for word in found if isinstance(word, str) and _REASON.fullmatch(word)), "")


def permission_of(error: BaseException) -> str:
    """The permission that an error names; "" if it names none. Nothing else of its text is repeated to anybody."""
    found = _PERMISSION.search(str(error))
    return found[0] if found else ""


def _is_passing(error: BaseException) -> bool:
    import requests.exceptions
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import TransportError

    if isinstance(error, GoogleAPICallError):
        if _retry_after(error) is not None:
            return False
        return status_of(error) >= _SERVER or status_of(error) == _TOO_MANY or reason_of(error) in _OURS_TO_RETRY
    if isinstance(error, requests.exceptions.SSLError):
        return False
    passing = (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        requests.exceptions.ChunkedEncodingError,
        TransportError,
    )
    return isinstance(error, passing)


def _retry_after(error: Any) -> timedelta | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    return parse_retry_after(headers.get("Retry-After"), headers.get("Date")) if hasattr(headers, "get") else None


def _refused(error: Any, doing: Doing) -> OutsideError:
    status, reason = status_of(error), reason_of(error)
    said = f"{doing.service} answered {' '.join(filter(None, (str(status or ''), reason)))} to {doing.what}"
    passing = reason in _QUOTA or reason in _THROTTLED or status in _LATER or status >= _SERVER
    if reason not in _NOT_ENABLED | _NO_BILLING and passing:
        if status in _UNHEARD and not hasattr(getattr(error, "response", None), "headers"):
            return UnreachableError(f"{doing.service} could not be reached, or did not answer {doing.what} in time")
        advice = "" if status >= _SERVER and status not in _LATER else ": too many requests, or overloaded"
        if reason in _QUOTA:
            advice = f": a quota of project {doing.project} is used up, raise it under IAM & Admin, Quotas"
        return TemporaryError(f"{said}{advice}", retry_after=_retry_after(error), uncertain=status >= _SERVER)
    advice = _no_access(error, status, reason, doing)
    if advice:
        return AccessError(f"{said}: {advice}")
    if status == _NOT_FOUND:
        return PermanentError(f"{said}: it is not there; check the name of {doing.thing}")
    return PermanentError(said)


def _no_access(error: Any, status: int, reason: str, doing: Doing) -> str:
    """What to do about a refusal that is one of access; "" if it is none."""
    if reason in _NOT_ENABLED:
        return f"that API is not enabled; run gcloud services enable {doing.api} --project={doing.project}"
    if reason in _NO_BILLING:
        return f"project {doing.project} has no active billing account; link one to it"
    if status == _UNAUTHORIZED:
        return "Google does not accept these credentials; renew them, and check the machine's clock"
    if status == _FORBIDDEN:
        named = permission_of(error)
        return f"allow {doing.needs if not named or named in doing.needs else f'{named} on project {doing.project}'}"
    return ""


def _not_let_in(error: Any, doing: Doing) -> OutsideError:
    from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

    if isinstance(error, DefaultCredentialsError):
        return AccessError(
            "Google credentials could not be found or read: set GOOGLE_APPLICATION_CREDENTIALS to a key file, run "
            "gcloud auth application-default login, or give the machine a service account"
        )
    if isinstance(error, TransportError) or (isinstance(error, RefreshError) and error.retryable):
        return UnreachableError("Google could not be reached for a token: check the network, the proxy and DNS")
    if isinstance(error, RefreshError):
        return AccessError(
            "Google does not renew these credentials: they have expired or were revoked, or the machine's clock is "
            "wrong; make a new key, or log in again"
        )
    return AccessError(f"the Google credentials cannot be used ({type(error).__name__}) for {doing.what}")


def _not_answered(error: Exception, doing: Doing) -> OutsideError:
    import requests.exceptions

    if isinstance(error, requests.exceptions.SSLError):
        if is_untrusted(str(error)):
            return AccessError(
                f"the server that answers for {doing.service} cannot prove that it is Google (its certificate or TLS "
                "version was refused): check the proxy, or name the authority in REQUESTS_CA_BUNDLE"
            )
        return TemporaryError(f"the TLS handshake with {doing.service} broke off")
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout | TimeoutError):
        return UnreachableError(
            f"{doing.service} could not be reached, or did not answer ({type(error).__name__}): check the network, "
            "the proxy and DNS",
            uncertain=True,
        )
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return PermanentError(f"the address of {doing.service} is not a valid URL; expected https://host")
    if isinstance(error, OSError) and not isinstance(error, requests.exceptions.RequestException | ConnectionError):
        return AccessError(
            f"the files with credentials and certificates for {doing.service} cannot be read ({type(error).__name__}): "
            "look at what GOOGLE_APPLICATION_CREDENTIALS and REQUESTS_CA_BUNDLE name, and who may read that"
        )
    return TemporaryError(f"{doing.service} gave no usable answer to {doing.what} ({type(error).__name__})")

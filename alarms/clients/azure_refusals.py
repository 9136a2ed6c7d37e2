"""What Azure means when it says no: each status, code and header as an error with the step that mends it. Pure.

Nothing of what Azure wrote in words is repeated; codes are, if they have the form of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from alarms.clients.http import parse_retry_after
from alarms.errors import AccessError, OutsideError, PermanentError, TemporaryError, UnreachableError

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._]{0,63}", re.ASCII)
_LIMIT = re.compile(r"x-ms-ratelimit-[\w.]*-(?P<limit>[a-z]+)-retry-after", re.ASCII)
_LIMITS = {"qpu": "query units", "entity": "this scope", "tenant": "the tenant", "clienttype": "the client type"}
_LIMITS["client"] = _LIMITS["clienttype"]
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_LONGEST = timedelta(days=1)
_ROLE = 'the role "Cost Management Reader" (it holds Microsoft.CostManagement/query/action)'
# What a message of Azure has in common when its offer is not served at all, and for a dimension that it does not have.
_OFFER = re.compile(r"offer|WebDirect|cost management data is (?:not supported|unavailable)", re.IGNORECASE)
_DIMENSION = re.compile(r"Invalid dataset grouping: '(?P<name>[A-Za-z]{1,40})'")
_NEW = "returns null or empty list"
_OF_TENANT = ("InvalidAuthenticationTokenTenant", "SubscriptionNotFound")
_UNSUPPORTED = (
    "its costs cannot be asked for: Cost Management serves Enterprise Agreement, Microsoft Customer Agreement and "
    "pay-as-you-go offers"
)
# The codes of Entra ID, https://learn.microsoft.com/entra/identity-platform/reference-error-codes.
_AADSTS = re.compile(r"AADSTS(\d{4,8})")
_ENTRA = {
    "7000215": "AZURE_CLIENT_SECRET is not a secret of this application; its value is wanted, not its id",
    "7000222": "the client secret has expired: make a new one and put it into AZURE_CLIENT_SECRET",
    "700027": "the certificate of the application is not accepted: check AZURE_CLIENT_CERTIFICATE_PATH",
    "700016": "AZURE_CLIENT_ID is no application of this tenant: check it and AZURE_TENANT_ID",
    "90002": "AZURE_TENANT_ID names no tenant: check it",
    "900023": "AZURE_TENANT_ID is no tenant id: check it",
    "700082": "the login has expired: run az login again",
    "50173": "the login has expired: run az login again",
    "53003": "a policy of conditional access refuses it: ask whoever administers the tenant",
}
_NO_TENANT = "authority configuration"
_ENTRA_LATER = ("90033", "50196", "90006", "90099")
_NOT_REACHED = re.compile(
    r"resolve|refused|timed out|unreachable|Max retries|aborted|reset by peer|RemoteDisconnected|IncompleteRead", re.I
)
# The chain of credentials has been tried to its end, or stopped at one that there is.
_ATTEMPT = re.compile(r"^\t?(\w+Credential): ", re.MULTILINE)
_UNAVAILABLE = re.compile(r"unavailable|not installed|not found|isn't|please run|not configured|not supported", re.I)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a scope, for the error that it may end in: the role it needs, what it was, what to check."""

    scope: str
    role: str = _ROLE
    billing_role: str = "a reader's role"
    what: str = "a query of the costs"
    check: str = "scope, by and run_tag"


def refused(status: int, headers: Mapping[str, str], body: bytes, asked: Asked) -> OutsideError:
    """The error for an answer that is no success; `headers` in lower case."""
    code, message = _said(body)
    if code and code != str(status):
        said = f"Azure answered {code} (HTTP {status})"
    else:
        said = f"Azure answered HTTP {status}" if code else f"the answer was HTTP {status}, without a code of Azure"
    wait, limits = longest_wait(headers)
    if status == 429 or (wait is not None and status >= 500):  # noqa: PLR2004 - HTTP
        return _put_off(said, wait, limits)
    if status >= 500 or status in (408, 409):  # noqa: PLR2004 - HTTP
        return TemporaryError(said)
    if status in (401, 403):
        return _no_access(status, code, said, asked)
    if 300 <= status < 400:  # noqa: PLR2004 - HTTP
        return PermanentError(f"{said}: a redirect, which is never followed; check the endpoint and the proxy")
    return _unanswerable(status, code, message, said, asked)


def longest_wait(headers: Mapping[str, str]) -> tuple[timedelta | None, list[str]]:
    """How long Azure asks to wait, the longest of all its ways to say so, and of which limits."""
    waits: list[timedelta] = []
    limits: list[str] = []
    standard = parse_retry_after(headers.get("retry-after"), headers.get("date"))
    if standard is not None:
        waits.append(standard)
    for name, value in headers.items():
        limit = _LIMIT.fullmatch(name)
        seconds = parse_retry_after(value, None)
        if limit is not None and seconds is not None:
            waits.append(seconds)
            limits += [_LIMITS.get(limit["limit"], limit["limit"])] if seconds else []
        elif name in _MILLISECONDS and re.fullmatch(r"\d{1,9}", value, re.ASCII):
            waits.append(min(timedelta(milliseconds=int(value)), _LONGEST))
    return max(waits, default=None), limits


def login_refused(text: str) -> OutsideError:
    """The error for a login that did not work; `text` is that of the SDK, and may hold anything."""
    codes = _AADSTS.findall(text)
    if codes:
        said = f"Entra ID answered AADSTS{codes[0]}"
        if codes[0] in _ENTRA_LATER:
            return TemporaryError(f"{said}: it cannot log anybody in for the moment")
        return AccessError(f"{said}: {_ENTRA.get(codes[0], 'it does not accept these credentials')}")
    if _NO_TENANT in text:
        return AccessError("AZURE_TENANT_ID names no tenant of AZURE_AUTHORITY_HOST or of this cloud: check them")
    attempts = _ATTEMPT.split(text)
    last = attempts[-1]
    if len(attempts) > 1 and _UNAVAILABLE.search(last):
        return AccessError(
            "no Azure credentials were found: set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, give the "
            "machine a managed identity, or run az login"
        )
    if _NOT_REACHED.search(last):
        return UnreachableError("the login of Azure (Entra ID) could not be reached: check the network and the proxy")
    name = attempts[-2] if len(attempts) > 1 else "the credentials"
    return AccessError(f"Azure gave no token for {name}: check AZURE_TENANT_ID, AZURE_CLIENT_ID and their secret")


def _said(body: bytes) -> tuple[str, str]:
    """Azure's code and message; both empty if somebody else wrote this."""
    try:
        document = json.loads(body)
        error = document.get("error", document)
        code, message = error.get("code"), error.get("message")
    except (AttributeError, RecursionError, ValueError):
        return "", ""
    text = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    return text, message if isinstance(message, str) else ""


def _put_off(said: str, wait: timedelta | None, limits: list[str]) -> TemporaryError:
    of = f" (the limit of {' and '.join(limits)})" if limits else ""
    asked = "" if wait is None else f"; it asks to wait {wait.total_seconds():.0f} s"
    return TemporaryError(f"{said}: too many queries, or overloaded{of}{asked}", retry_after=wait)


def _no_access(status: int, code: str, said: str, asked: Asked) -> AccessError:
    scope = asked.scope
    if code in _OF_TENANT:
        return AccessError(f"{said}: the login is of another tenant than {scope}; set AZURE_TENANT_ID to the one of it")
    if status == 401:  # noqa: PLR2004 - HTTP
        return AccessError(
            f"{said}: it does not accept the token; renew the credentials, and check the machine's clock"
        )
    if "/providers/microsoft.billing/" in scope.lower():
        return AccessError(
            f"{said}: give the identity {asked.billing_role} on {scope} under Access control of the billing account"
        )
    return AccessError(f"{said}: give the identity {asked.role} on {scope}")


def _unanswerable(status: int, code: str, message: str, said: str, asked: Asked) -> PermanentError:
    """Of 400, 404 and the like: what is wrong with the question."""
    scope = asked.scope
    dimension = _DIMENSION.search(message)
    if dimension is not None:
        return PermanentError(f"{said}: costs of {scope} cannot be read by {dimension['name']}; change by or run_tag")
    if code in _OF_TENANT:
        return AccessError(f"{said}: there is no {scope} in this tenant; check scope, and AZURE_TENANT_ID")
    if _NEW in message:
        return PermanentError(f"{said}: Cost Management does not know {scope} yet; a new one takes up to two days")
    if _OFFER.search(message) or status in (422, 424):
        return PermanentError(f"{said} for {scope}: {_UNSUPPORTED}")
    if status == 404:  # noqa: PLR2004 - HTTP
        return PermanentError(f"{said}: there is no {scope}; check scope")
    return PermanentError(f"{said} to {asked.what} of {scope}; check {asked.check}")

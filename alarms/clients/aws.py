"""AWS sessions and clients, and what their errors mean. Types of the SDK stop here.

Credentials are found as every AWS tool finds them: `AWS_*` variables, profiles, web identity, container and instance
roles; `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<SERVICE>` and `HTTPS_PROXY` are honoured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from alarms.clients import dates
from alarms.clients.aws_actions import TWIN_ACTIONS
from alarms.clients.aws_answers import guard
from alarms.clients.http import parse_retry_after
from alarms.clients.tls import is_untrusted
from alarms.errors import (
    AccessError,
    MissingExtraError,
    OutsideError,
    PermanentError,
    TemporaryError,
    UnreachableError,
)
from alarms.settings import StrictModel
from alarms.words import clean

if TYPE_CHECKING:
    import botocore.session
    from botocore.config import Config
    from botocore.credentials import DeferredRefreshableCredentials
    from botocore.exceptions import ClientError

# One read may take this long; the whole call has a deadline of its own (`within`).
_CONNECT_S, _READ_S = 5, 10
# The name of our own way to sign, among those of botocore; how it writes the time.
_CORRECTED, _TIMESTAMP = "v4-corrected", "%Y%m%dT%H%M%SZ"
# The IAM action where it is not plain from the operation's name.
_ACTIONS = {
    "GetCostAndUsage": "ce:GetCostAndUsage",
    "GetMetricData": "cloudwatch:GetMetricData",
    "ListMetrics": "cloudwatch:ListMetrics",
    "Publish": "sns:Publish",
    "GetTopicAttributes": "sns:GetTopicAttributes",
    "AssumeRole": "sts:AssumeRole",
    **TWIN_ACTIONS,
}
_CODE = re.compile(r"[A-Za-z0-9. ]{1,64}", re.ASCII)
# fmt: off
_ALLOW = "allow {action} to these credentials"
_RENEW = "the credentials have expired, renew them"
_CHECK = "AWS does not accept these credentials, check the keys and the machine's clock"
_NO_ACCESS = {
    **dict.fromkeys((
        "AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException",
        "KMSAccessDenied", "KMSAccessDeniedException", "NotAuthorized", "UnauthorizedOperation",
    ), _ALLOW),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), _RENEW),
    **dict.fromkeys((
        "AuthFailure", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignatureException",
        "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotSignedUp", "OptInRequired",
        "RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException",
    ), _CHECK),
}
_THROTTLED = frozenset((
    "KMSThrottling", "KMSThrottlingException", "LimitExceeded", "LimitExceededException", "RequestLimitExceeded",
    "RequestThrottled", "RequestThrottledException", "SlowDown", "ThrottledException", "Throttling",
    "ThrottlingException", "TooManyRequestsException",
))
# Refused for what this one message is, not for who sends it or where to.
_ONE_MESSAGE = frozenset((
    "InvalidParameter", "InvalidParameterException", "InvalidParameterValue", "ParameterValueInvalid",
))
# Exceptions of botocore, by name: some are newer than the oldest version that we work with.
_NO_CREDENTIALS = frozenset((
    "CredentialRetrievalError", "LoginError", "LoginTokenLoadError", "NoAuthTokenError", "NoCredentialsError",
    "PartialCredentialsError", "RefreshWithMFAUnsupportedError", "SSOError", "SSOTokenLoadError",
    "TokenRetrievalError", "UnauthorizedSSOTokenError",
))
_MISCONFIGURED = frozenset((
    "ConfigNotFound", "ConfigParseError", "EndpointProviderError", "InvalidConfigError",
    "InvalidEndpointConfigurationError", "InvalidProxiesConfigError", "InvalidRegionError", "NoRegionError",
    "ParamValidationError", "ProfileNotFound", "UnknownEndpointError", "UnknownRegionError",
))
_NOT_SENT = frozenset(("ConnectTimeoutError", "EndpointConnectionError", "ProxyConnectionError"))
# fmt: on


class AwsSettings(StrictModel):
    """Where and as whom, with the usual AWS meaning; for a receiver or a source to inherit."""

    region: str = "us-east-1"
    endpoint_url: str | None = None
    profile: str | None = None
    role_arn: str | None = None


def make_client(
    service: str, settings: AwsSettings, *, retries: int, region: str | None = None, validation: bool = True
) -> Any:
    """A boto3 client that keeps to short timeouts; about 10 ms to make, safe to share between threads.

    `retries` are those inside the SDK, beyond the first attempt; `validation`: the SDK checks each call's parameters
    before it sends them, an eighth of the CPU of a call that names 500 metrics. `endpoint_url` is for this service
    alone; a role is assumed at the usual STS endpoint (or `AWS_ENDPOINT_URL_STS`), and its keys renew themselves.
    Raises MissingExtraError without boto3, AccessError or PermanentError for settings that cannot work.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise MissingExtraError("boto3 is not installed: pip install 'cloud-budget-monitor[aws]'") from error
    where = region or settings.region
    config = Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retries={"mode": "standard", "max_attempts": retries},
        parameter_validation=validation,
    )
    with translated():
        core = _session(settings, where, config)
        session: Any = boto3.Session(botocore_session=core, region_name=where)
        try:
            client = session.client(service, endpoint_url=settings.endpoint_url, config=config)
        except ValueError as error:  # what botocore raises for a URL that is none
            raise PermanentError(
                f"AWS {service}: the endpoint URL is not a valid URL, expected https://host"
            ) from error
    guard(client)
    _note_dates(client)
    _sign_at_the_right_time(client)
    return client


@contextmanager
def translated() -> Iterator[None]:
    """Around calls of a client: what the SDK raises leaves as an OutsideError."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except (BotoCoreError, ClientError, HTTPClientError, ResponseParserError) as error:
        raise translate(error) from error


def translate(error: Exception) -> OutsideError:
    """What an error of botocore means for whoever has to decide about another try; it names the operation and code."""
    from botocore.exceptions import ClientError

    return _refused(error) if isinstance(error, ClientError) else _not_answered(error)


def _note_dates(client: Any) -> None:
    """Keep the date of every answer, refusals too."""
    host = urlsplit(client.meta.endpoint_url).netloc

    def note(response_dict: Any, **_: Any) -> None:
        if response_dict is not None:
            headers = response_dict["headers"]
            dates.note(host, headers.get("date"), cached="age" in headers)

    client.meta.events.register("response-received", note)


def _sign_at_the_right_time(client: Any) -> None:
    """AWS refuses what was signed more than a few minutes ago or ahead: leave the error of a wrong clock out."""

    def choose(signature_version: str, **_: Any) -> str | None:
        return _CORRECTED if signature_version == "v4" and dates.ahead() else None

    _corrected_signing()
    client.meta.events.register("choose-signer", choose)


@cache
def _corrected_signing() -> None:
    from botocore.auth import AUTH_TYPE_MAPS, SigV4Auth

    class Corrected(SigV4Auth):
        def _modify_request_before_signing(self, request: Any) -> None:
            # The first that is done after the time was taken; from here on all of it goes by this text.
            taken = datetime.strptime(request.context["timestamp"], _TIMESTAMP).replace(tzinfo=UTC)
            request.context["timestamp"] = (taken - dates.ahead()).strftime(_TIMESTAMP)
            super()._modify_request_before_signing(request)  # type: ignore[misc]  # the types leave private names out

    AUTH_TYPE_MAPS[_CORRECTED] = Corrected


def _refused(error: ClientError) -> OutsideError:
    code = str(error.response.get("Error", {}).get("Code", "")) or "no error code"
    if not _CODE.fullmatch(code):  # not one of AWS's: whoever answered could have put what we sent there
        code = "an error code that is none"
    operation = error.operation_name
    answer = error.response.get("ResponseMetadata", {})
    status = int(answer.get("HTTPStatusCode", 0))
    said = f"AWS answered {code} to {operation}"
    advice = _NO_ACCESS.get(code) or (_ALLOW if status in (401, 403) else None)
    if code in _THROTTLED or status in (429, 503):
        return TemporaryError(f"{said}: too many requests, or overloaded", retry_after=_retry_after(answer))
    if advice is not None:
        return AccessError(f"{said}: {advice.format(action=_ACTIONS.get(operation, operation))}")
    if status >= 500 or code == "RequestTimeout":  # noqa: PLR2004 - the server's own errors in HTTP
        return TemporaryError(f"{said} (HTTP {status})", retry_after=_retry_after(answer), uncertain=True)
    return PermanentError(f"{said} (HTTP {status})", whole_receiver=code not in _ONE_MESSAGE)


def _retry_after(answer: Any) -> timedelta | None:
    headers = answer.get("HTTPHeaders", {})
    return parse_retry_after(headers.get("retry-after"), headers.get("date"))


def _not_answered(error: Exception) -> OutsideError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    name = type(error).__name__
    if kinds & _NO_CREDENTIALS:
        return AccessError(
            f"AWS credentials could not be found or renewed ({name}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile, or a role"
        )
    if kinds & _MISCONFIGURED:
        said = f"the AWS settings cannot work ({name}): check region, profile, endpoint_url and role_arn"
        if name == "ProfileNotFound":
            named = clean(str(getattr(error, "kwargs", {}).get("profile", "")), 64)
            said = f'there is no AWS profile "{named}": check AWS_PROFILE or `profile`'
        return PermanentError(said)
    if kinds & _NOT_SENT:
        return UnreachableError(
            f"AWS could not be reached{_host_of(error)} ({name}): check the network, the proxy and the endpoint"
        )
    if "SSLError" in kinds:
        if is_untrusted(str(error)):
            return AccessError(
                "the server that answers for AWS cannot prove that it is AWS (its certificate or TLS version was "
                "refused): check the endpoint and the proxy, or name the authority in AWS_CA_BUNDLE"
            )
        return TemporaryError("the TLS handshake with AWS broke off")
    return TemporaryError(f"AWS gave no usable answer ({name})", uncertain=True)


def _host_of(error: Exception) -> str:
    """` at HOST` or ` by the proxy HOST`: the host alone, since the rest of a URL may hold what nobody should read."""
    known = getattr(error, "kwargs", {})
    for key, words in (("endpoint_url", "at"), ("proxy_url", "by the proxy")):
        with suppress(ValueError):
            if host := urlsplit(str(known.get(key, ""))).hostname:
                return f" {words} {host}"
    return ""


def _session(settings: AwsSettings, region: str, config: Config) -> botocore.session.Session:
    import botocore.session

    session = botocore.session.Session(profile=settings.profile)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_instant)
    if settings.role_arn is None:
        return session
    from botocore.credentials import CredentialResolver

    provider = _role_provider(settings.role_arn, session, region, config)
    assumed = botocore.session.Session(profile=settings.profile)
    assumed.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_instant)
    assumed.register_component("credential_provider", CredentialResolver([provider]))
    return assumed


@lru_cache(maxsize=4096)
def _instant(value: float | str) -> datetime:
    """An instant of an answer, in UTC: botocore's own way takes the machine's zone and ten times as long."""
    from botocore.utils import parse_timestamp

    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return parse_timestamp(value).astimezone(UTC)


def _role_provider(role_arn: str, session: botocore.session.Session, region: str, config: Config) -> Any:
    from botocore.credentials import AssumeRoleCredentialFetcher, CredentialProvider, DeferredRefreshableCredentials
    from botocore.exceptions import NoCredentialsError

    class AssumedRole(CredentialProvider):
        METHOD = CANONICAL_NAME = "assume-role"

        def load(self) -> DeferredRefreshableCredentials:
            own = session.get_credentials()
            if own is None:
                raise NoCredentialsError
            fetcher = AssumeRoleCredentialFetcher(sts, own, role_arn)
            return DeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD)

    def sts(service: str, **keys: Any) -> Any:
        return session.create_client(service, region_name=region, **{**keys, "config": config})

    return AssumedRole()

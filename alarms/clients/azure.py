"""Azure Resource Manager: credentials, clients, and what their errors mean. Types of the SDK stop here.

Credentials are found as every Azure tool finds them (`DefaultAzureCredential`): `AZURE_*` variables, workload and
managed identities, `az login`; `AZURE_AUTHORITY_HOST`, `REQUESTS_CA_BUNDLE` and `HTTPS_PROXY` are honoured.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from alarms.clients.azure_refusals import login_refused
from alarms.clients.azure_scope import ACTION_GROUP, Scope, parse_scopes
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

if TYPE_CHECKING:
    from azure.core import AzureClouds
    from azure.identity import DefaultAzureCredential
    from azure.mgmt.costmanagement import CostManagementClient

# A query over a large scope may take its time; the whole call has a deadline of its own (`within`).
_CONNECT_S, _READ_S, _PROCESS_S = 5, 30, 10
_LOGIN_READ_S = 10
_AGENT = "cloud-budget-monitor"
# What Azure asks of a client that is not its portal, so that limits are counted by it.
HEADERS = {"ClientType": _AGENT}


def _https(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ValueError('expected an https URL such as "https://management.example.com"')
    return url.rstrip("/")


class ArmSettings(StrictModel):
    """Which cloud, and where it answers; for a source to inherit."""

    cloud: Literal["public", "china", "government"] = "public"
    endpoint_url: Annotated[str, AfterValidator(_https)] | None = None


class ScopedSettings(ArmSettings):
    """What is read there, and what of it concerns budgets inside Azure; for a source to inherit.

    `native_action_groups`: whom a budget that Azure holds calls beside those with an e-mail address.
    """

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    scope: Annotated[tuple[Scope, ...], BeforeValidator(parse_scopes)]
    billing_period_starts: Annotated[int, Field(ge=1, le=28)] = 1
    run_tag: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    native_action_groups: list[Annotated[str, Field(pattern=ACTION_GROUP)]] = Field(default_factory=list, max_length=50)

    @property
    def places(self) -> frozenset[str]:
        """Each scope, however it is written."""
        return frozenset(scope.normal for scope in self.scope)

    @property
    def place(self) -> str:
        """The same for every source that reads this."""
        return ",".join(sorted(self.places))


def make_client(settings: ArmSettings) -> CostManagementClient:
    """A client of Cost Management that keeps to short timeouts, tries once, and follows no redirect.

    With an `endpoint_url` of its own a cloud is a private one: nobody at Microsoft is asked whether its login is known.
    Raises MissingExtraError without the packages, AccessError for variables that cannot work.
    """
    try:
        from azure.mgmt.costmanagement import CostManagementClient

        credential = _credential(settings)
    except ImportError as error:
        raise MissingExtraError(
            "azure-identity and azure-mgmt-costmanagement are not installed: pip install 'cloud-budget-monitor[azure]'"
        ) from error
    return CostManagementClient(
        credential,
        base_url=settings.endpoint_url,
        cloud_setting=_cloud(settings),
        connection_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        retry_total=0,
        permit_redirects=False,
        user_agent=_AGENT,
    )


def _credential(settings: ArmSettings) -> DefaultAzureCredential:
    from azure.identity import DefaultAzureCredential

    # Of a login that fails it says at length, and each time, what our error says in a sentence.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    more: dict[str, Any] = {} if settings.endpoint_url is None else {"disable_instance_discovery": True}
    try:
        return DefaultAzureCredential(
            authority=_authority(settings),
            process_timeout=_PROCESS_S,
            connection_timeout=_CONNECT_S,
            read_timeout=_LOGIN_READ_S,
            retry_total=1,
            permit_redirects=False,
            **more,
        )
    except OSError as error:
        raise _without_file(error) from error
    except ValueError as error:  # it may quote what it found in the environment
        raise AccessError(
            "the AZURE_* variables cannot work: check AZURE_TENANT_ID, AZURE_CLIENT_CERTIFICATE_PATH, "
            "AZURE_AUTHORITY_HOST and AZURE_TOKEN_CREDENTIALS"
        ) from error


@contextmanager
def translated() -> Iterator[None]:
    """Around calls of a client: what the SDK raises leaves as an OutsideError."""
    from azure.core.exceptions import AzureError

    try:
        yield
    except AzureError as error:
        raise translate(error) from error
    except OSError as error:
        raise _without_file(error) from error


def translate(error: Exception) -> OutsideError:
    """What an error of the SDK means for whoever has to decide about another try. Refusals are read elsewhere."""
    from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseTimeoutError

    text, name = str(error), type(error).__name__
    if is_untrusted(text):
        return AccessError(
            "the server that answers for Azure cannot prove that it is Azure (its certificate or TLS version was "
            "refused): check the endpoint and the proxy, or name the authority in REQUESTS_CA_BUNDLE"
        )
    if isinstance(error, ClientAuthenticationError):
        return login_refused(text)
    if "non-TLS" in text:
        return PermanentError("the endpoint of Azure is not https; a token is never sent to it")
    if isinstance(error, ServiceRequestError):
        return UnreachableError(f"Azure could not be reached ({name}): check the network, the proxy and the endpoint")
    if isinstance(error, ServiceResponseTimeoutError):
        return UnreachableError(f"Azure did not answer within {_READ_S} s")
    return TemporaryError(f"Azure gave no usable answer ({name})")


def _without_file(error: OSError) -> OutsideError:
    """What the SDK lets through as it came: a file is not there, or (never seen yet) a socket failed."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return UnreachableError(f"Azure could not be reached ({type(error).__name__}): check the network and the proxy")
    return AccessError(
        "a file that the login of Azure needs cannot be read: "
        "check AZURE_CLIENT_CERTIFICATE_PATH and REQUESTS_CA_BUNDLE"
    )


def _authority(settings: ArmSettings) -> str | None:
    """Who logs us in; None: whoever AZURE_AUTHORITY_HOST names, else the public cloud's."""
    from azure.identity import AzureAuthorityHosts

    if settings.cloud == "public" or os.environ.get("AZURE_AUTHORITY_HOST"):
        return None
    return AzureAuthorityHosts.AZURE_CHINA if settings.cloud == "china" else AzureAuthorityHosts.AZURE_GOVERNMENT


def _cloud(settings: ArmSettings) -> AzureClouds:
    from azure.core import AzureClouds

    return {
        "public": AzureClouds.AZURE_PUBLIC_CLOUD,
        "china": AzureClouds.AZURE_CHINA_CLOUD,
        "government": AzureClouds.AZURE_US_GOVERNMENT,
    }[settings.cloud]

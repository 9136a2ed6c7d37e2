"""Clients of the APIs that twins in Google Cloud need, and calls to them: each in its time, its errors translated."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from alarms.clients.gcp import Doing, credentials_of, retry, translated
from alarms.errors import MissingExtraError, PermanentError

T = TypeVar("T")
# One call with its further tries; the whole look has a deadline of its own.
CALL_S = 10.0
MOST_PAGES = 1000
_BUDGETS, _BILLING, _MANAGER = "billingbudgets", "cloudbilling", "cloudresourcemanager"


class Apis:
    """The clients, made when first used. `endpoint`: where all of them are, if not each at its own address."""

    def __init__(self, endpoint: str | None, project: str) -> None:
        self._endpoint = endpoint
        self._project = project

    def doing(self, what: str, service: str, needs: str) -> Doing:
        """What is being done, for errors. `service`: as Google names it, which is how its API begins."""
        api = {"Cloud Billing budgets": _BUDGETS, "Cloud Billing": _BILLING, "Pub/Sub": "pubsub"}.get(service, _MANAGER)
        return Doing(what, service, f"{api}.googleapis.com", self._project, needs)

    @cached_property
    def budgets(self) -> Any:
        """Of budgets."""
        return self._client("google.cloud.billing.budgets_v1", "BudgetServiceClient", _BUDGETS)

    @cached_property
    def catalog(self) -> Any:
        """Of services."""
        return self._client("google.cloud.billing_v1", "CloudCatalogClient", _BILLING)

    @cached_property
    def topics(self) -> Any:
        """Of topics; over gRPC, as it always is."""
        return _class("google.pubsub_v1", "PublisherClient")(credentials=self._credentials)

    @cached_property
    def session(self) -> Any:
        """For what has no client of its own among our packages."""
        return _class("google.auth.transport.requests", "AuthorizedSession")(self._credentials)

    def address(self, path: str) -> str:
        """Of a resource of the Resource Manager."""
        return f"{(self._endpoint or f'https://{_MANAGER}.googleapis.com').rstrip('/')}{path}"

    def _client(self, module: str, name: str, api: str) -> Any:
        split = urlsplit(self._endpoint or f"https://{api}.googleapis.com")
        # It adds https:// by itself, and takes http:// as it stands.
        host = split.netloc if split.scheme == "https" else f"{split.scheme}://{split.netloc}"
        made = _class(module, name)
        return made(credentials=self._credentials, transport="rest", client_options={"api_endpoint": host})

    @cached_property
    def _credentials(self) -> Any:
        return credentials_of(self.doing("the question for credentials", "Cloud Billing budgets", ""))


def call(doing: Doing, function: Callable[..., T], *, again: bool = True) -> T:
    """Its result. `function` takes `retry` and `timeout`; `again`: it may be tried twice more. Raises OutsideError."""
    with translated(doing):
        return function(retry=retry(CALL_S) if again else None, timeout=CALL_S)


def items(doing: Doing, field: str, listing: Callable[..., Any]) -> Iterator[Any]:
    """Every element of the list `field` of all pages. `listing`: a function as for `call`. Raises OutsideError.

    The SDK's own loop over elements would go on for ever through pages with nothing on them.
    """
    pager = call(doing, listing)
    seen: set[str] = set()
    with translated(doing):
        for page in pager.pages:
            if page.next_page_token in seen or len(seen) == MOST_PAGES:
                raise PermanentError(f"{doing.service} answered {doing.what} with pages without end")
            seen.add(page.next_page_token)
            yield from getattr(page, field)


def _class(module: str, name: str) -> Any:
    """By name and not by import statement: an older installation may lack one of the packages."""
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise MissingExtraError(
            f"the package of {module} is not installed: pip install 'cloud-budget-monitor[gcp]'"
        ) from error

"""Budgets of Azure Cost Management: which there are, and how they are made, changed and removed.

The SDK's client sends, with its login. Answers are taken from its pipeline as text, and the next page of a list is
asked for at the same address: wherever a link points, the token goes to nobody but the endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from alarms.clients.azure import HEADERS, translated
from alarms.clients.azure_answers import Body, token_of
from alarms.clients.azure_refusals import Asked
from alarms.clients.azure_scope import Scope
from alarms.clients.deadline import idle
from alarms.errors import OutsideError, PermanentError, TemporaryError

_MOST_PAGES = 500
_NOT_FOUND = 404
# The name is taken, or the eTag is not that of what is there.
_CHANGED = (409, 412)
_PAUSES_S = (0.5, 1.0)
_LONGEST_WAIT_S = 10.0
_ACTION_GROUPS_VERSION = "2023-01-01"
_BUDGETS_ASKED = Asked(
    "",
    billing_role="a role that keeps budgets",
    what="a budget",
    check="its currency, its dates and filters, and native_action_groups",
)


@dataclass(frozen=True, slots=True)
class Budgets:
    """Those of any scope. `client`: of Cost Management."""

    client: Any

    def all(self, scope: Scope) -> Iterator[Mapping[str, Any]]:
        """Every budget of a scope, as Azure tells of it; Azure lists those of the scopes inside it as well."""
        tokens: set[str] = {""}
        token = ""
        while True:
            page = self._ask(scope, "read", self._page(scope, token)) or {}
            budgets, link = page.get("value"), page.get("nextLink")
            if not isinstance(budgets, list):
                raise _damaged()
            yield from (one for one in budgets if _is_of(one, scope))
            if not link:
                return
            token = token_of(link)
            if not token:
                raise TemporaryError("Azure named a next page of budgets without saying which")
            if token in tokens or len(tokens) > _MOST_PAGES:
                raise PermanentError(f"Azure listed the budgets of {scope.path} in pages without end")
            tokens.add(token)

    def get(self, scope: Scope, name: str) -> Mapping[str, Any] | None:
        """A budget as Azure tells of it; None: there is none of this name."""
        path = scope.path.strip("/")
        found: Mapping[str, Any] | None = self._ask(
            scope, "read", lambda more: self.client.budgets.get(path, name, **more), missing_is_fine=True
        )
        return found

    def put(self, scope: Scope, name: str, body: bytes) -> None:
        """Make it, or write all of it anew; one that has changed since its eTag was read is left alone."""
        path = scope.path.strip("/")
        self._ask(scope, "write", lambda more: self.client.budgets.create_or_update(path, name, body, **more))

    def delete(self, scope: Scope, name: str) -> None:
        """Remove it; that it is not there is no error."""
        path = scope.path.strip("/")
        self._ask(scope, "delete", lambda more: self.client.budgets.delete(path, name, **more), missing_is_fine=True)

    def action_group(self, path: str) -> Mapping[str, Any] | None:
        """An action group as Azure tells of it, by its resource id; None: there is none."""
        from azure.core.rest import HttpRequest

        asked = Asked(path, 'the role "Monitoring Reader" (it holds Microsoft.Insights/actionGroups/read)', what="it")
        request = HttpRequest("GET", quote(path), params={"api-version": _ACTION_GROUPS_VERSION})
        found: Mapping[str, Any] | None = _Call(asked, missing_is_fine=True).made(
            lambda more: self.client.send_request(request, **more)
        )
        return found

    def _page(self, scope: Scope, token: str) -> Callable[[dict[str, Any]], object]:
        path, parameters = scope.path.strip("/"), {"$skiptoken": quote(token, safe="")} if token else {}
        return lambda more: next(self.client.budgets.list(path, params=parameters, **more).by_page())

    def _ask(
        self, scope: Scope, right: str, send: Callable[[dict[str, Any]], object], *, missing_is_fine: bool = False
    ) -> Any:
        role = f'the role "Cost Management Contributor" (it holds Microsoft.CostManagement/budgets/{right})'
        call = _Call(replace(_BUDGETS_ASKED, scope=scope.path, role=role), missing_is_fine=missing_is_fine)
        if right != "read":
            return call.made(send)
        for pause in _PAUSES_S:
            try:
                return call.made(send)
            except TemporaryError as error:
                wait = pause if error.retry_after is None else error.retry_after.total_seconds()
                if wait > _LONGEST_WAIT_S:
                    raise
                idle(wait)
        return call.made(send)


class _MissingError(Exception):
    """There is no such thing."""


class _Answer(Body):
    """Raises what a refusal means for a budget."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.document: Any = None

    def take(self, response: Any) -> None:
        """Read it, before anybody else does."""
        super().take(response)
        if self.content is None:
            raise _MissingError
        self.document = _read(self.content) if self.content else {}

    def refusal(self, status: int, headers: dict[str, str], body: bytes) -> Exception:
        """The error for an answer that is no success."""
        if status == _NOT_FOUND and b"SubscriptionNotFound" not in body:
            return _MissingError()
        if status in _CHANGED:
            return TemporaryError("somebody has changed it meanwhile: look at the plan again")
        return super().refusal(status, headers, body)


@dataclass(frozen=True, slots=True)
class _Call:
    asked: Asked
    missing_is_fine: bool

    def made(self, send: Callable[[dict[str, Any]], object]) -> Any:
        """What was answered; None for what is not there. `send` is given what every call takes."""
        answer = _Answer(self.asked)
        try:
            with translated():
                send({"headers": dict(HEADERS), "raw_response_hook": answer.take})
        except _MissingError:
            if self.missing_is_fine:
                return None
            raise PermanentError(f"Azure knows no {self.asked.scope}; check scope") from None
        except OutsideError:
            raise
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise _damaged() from error
        return answer.document


def _read(body: bytes) -> Any:
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=str)
    except (RecursionError, ValueError) as error:
        raise _damaged() from error


def _damaged() -> TemporaryError:
    return TemporaryError("what answered for the budgets was not Cost Management, or its answer is damaged")


def _is_of(budget: Any, scope: Scope) -> bool:
    if not isinstance(budget, dict) or not isinstance(budget.get("name"), str) or not isinstance(budget.get("id"), str):
        raise _damaged()
    path: str = budget["id"]
    return path.lower().strip("/").rpartition("/providers/")[0] == scope.normal

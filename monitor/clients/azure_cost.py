"""Asks the Query API of Azure Cost Management: one question, all pages of its answer.

The SDK's client sends, with its login; it does not follow `nextLink`. The next page is asked for at the same address
with the `$skiptoken` of the link alone: wherever a link points, the token goes to nobody but the endpoint.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import quote

from alarms.clients.azure import HEADERS, translated
from alarms.clients.azure_answers import Body
from alarms.clients.azure_refusals import Asked
from alarms.clients.deadline import idle
from alarms.errors import TemporaryError, UnreachableError
from monitor.clients.azure_query import (
    Answer,
    Key,
    Page,
    Query,
    Row,
    definition,
    places_of,
    read_page,
    read_row,
    spoilt_day,
)
from monitor.errors import BadDataError
from monitor.model import ApiUse

# The most rows of a page; without a `$top` some scopes answer with a thousand. Each page counts as a query.
_TOP = {"$top": "5000"}
_MOST_PAGES = 500
_PAUSES_S = (0.5, 1.0)
# Who has to wait longer is asked again by the scheduler, which forgets nothing meanwhile.
_LONGEST_WAIT_S = 30.0

# Answers that need not be asked for again. Whole ones alone: pages of two times do not fit together, for rows move from
# one to the other, and what none of them has is lost without a sign.
Kept: TypeAlias = MutableMapping[Query, Answer]


@dataclass(slots=True)
class Unfinished:
    """What a read that did not come to its end has brought. `good_until`: on the monotonic clock."""

    answers: Kept = field(default_factory=dict)
    good_until: float = 0.0


class CostQueries:
    """Asks through one client in one currency, for `seconds` in all; counts calls and unusable rows.

    `kept`: what an earlier try has read that was not finished.
    """

    def __init__(self, client: Any, currency: str, *, seconds: float, kept: Kept) -> None:
        self._client = client
        self._currency = currency
        self._give_up_at = time.monotonic() + seconds
        self._kept = kept
        self._calls = 0

    @property
    def use(self) -> ApiUse:
        """Calls made so far; they cost nothing."""
        return ApiUse(self._calls)

    def ask(self, query: Query) -> Answer:
        """All of an answer. Raises OutsideError; BadDataError for what is no answer to this."""
        answer = self._kept.get(query)
        if answer is None:
            answer = self._kept[query] = self._whole(query)
        return answer

    def _whole(self, query: Query) -> Answer:
        found: dict[Key, Decimal] = {}
        rejected = 0
        spoilt: set[date | None] = set()
        for page in self._pages(query):
            places = places_of(page.columns, query)
            for raw in page.rows:
                row = read_row(raw, places, query)
                if row is None:
                    rejected += 1
                    currency = raw[places.currency]
                    if currency == self._currency or not isinstance(currency, str):
                        spoilt.add(spoilt_day(raw, places, query))
                    continue
                key, cost = row
                # The same row twice is a page that was served twice.
                if found.setdefault(key, cost) != cost:
                    raise BadDataError("Azure answered with two different costs of the same day and group")
        rows = tuple(
            Row(day, tuple([value or "" for value in values]), cost)
            for (currency, day, values), cost in found.items()
            if currency == self._currency
        )
        others = frozenset(currency for currency, _, _ in found) - {self._currency}
        return Answer(rows, others, rejected, frozenset(spoilt))

    def _pages(self, query: Query) -> list[Page]:
        pages: list[Page] = []
        tokens: set[str] = {""}
        token = ""
        while True:
            page = self._request(query, token)
            pages.append(page)
            token = page.token
            if not token:
                return pages
            if token in tokens or len(pages) >= _MOST_PAGES:
                raise BadDataError("Azure answered a query with pages without end")
            tokens.add(token)

    def _request(self, query: Query, token: str) -> Page:
        """One page; what passes by itself soon is tried again."""
        for pause in (*_PAUSES_S, None):
            try:
                return read_page(self._once(query, token))
            except BadDataError:
                raise
            except TemporaryError as error:
                wait = pause if error.retry_after is None else error.retry_after.total_seconds()
                left = self._give_up_at - time.monotonic() - 1
                if pause is None or wait is None or wait > min(left, _LONGEST_WAIT_S):
                    raise
                idle(wait)
        raise AssertionError

    def _once(self, query: Query, token: str) -> bytes | None:
        """The text of one answer, None for 204."""
        if time.monotonic() > self._give_up_at:
            raise UnreachableError("Azure took too long to answer all queries of the costs")
        self._calls += 1
        body = Body(Asked(query.scope))
        with translated():
            self._client.query.usage(
                query.scope.strip("/"),
                definition(query),
                headers=HEADERS,
                params=_TOP | ({"$skiptoken": quote(token, safe="")} if token else {}),
                stream=True,
                raw_response_hook=body.take,
            )
        return body.content

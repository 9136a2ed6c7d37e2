"""Scopes of Azure: what costs are asked of, as they are written in the API. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_GUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_NAME = r"[\w.:()-]{1,260}"
_BILLING = r"/providers/Microsoft\.Billing/billingAccounts/" + _NAME
_PARTS = rf"(?:departments|enrollmentAccounts|customers)/{_NAME}|billingProfiles/{_NAME}(?:/invoiceSections/{_NAME})?"
_SUBSCRIPTION = re.compile(
    rf"/subscriptions/(?P<id>{_GUID})(?P<group>/resourceGroups/[\w.()-]{{1,90}})?", re.ASCII | re.IGNORECASE
)
_WIDE = re.compile(
    rf"/providers/Microsoft\.Management/managementGroups/{_NAME}|{_BILLING}(?:/(?:{_PARTS}))?", re.ASCII | re.IGNORECASE
)
# The resource id of an action group, in whichever case.
ACTION_GROUP = (
    rf"(?i)^/subscriptions/{_GUID}/resourceGroups/[\w.()-]{{1,90}}"
    r"/providers/microsoft\.insights/actionGroups/[^/<>%&?\\#\s]{1,260}$"
)
EXPECTED = (
    'expected a scope of Azure: "/subscriptions/ID", "/subscriptions/ID/resourceGroups/NAME", '
    '"/providers/Microsoft.Management/managementGroups/ID" or "/providers/Microsoft.Billing/billingAccounts/ID", '
    "also with /billingProfiles/ID, /departments/ID or /enrollmentAccounts/ID behind it"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """`path` as it is asked, without a slash at its end. `subscription`: the one it lies in, "" if it may hold many."""

    path: str
    subscription: str = ""
    is_whole_subscription: bool = False

    @property
    def normal(self) -> str:
        """The same text for every way to write it: `subscriptions/ID`. Azure takes no notice of case."""
        return self.path.lower().strip("/")


def parse_scope(text: str) -> Scope:
    """Take a scope apart. Raises ValueError, which says what a scope looks like."""
    path = "/" + text.strip("/")
    subscription = _SUBSCRIPTION.fullmatch(path)
    if subscription is not None:
        return Scope(path, subscription["id"].lower(), is_whole_subscription=subscription["group"] is None)
    if _WIDE.fullmatch(path) is None:
        raise ValueError(EXPECTED)
    return Scope(path)


def parse_scopes(value: object) -> tuple[Scope, ...]:
    """One scope, or a list of subscriptions. Raises ValueError."""
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
    if not texts or (isinstance(value, list) and len(texts) < len(value)):
        raise ValueError(EXPECTED)
    scopes = tuple(map(parse_scope, texts))
    if len(scopes) > 1:
        if not all(scope.is_whole_subscription for scope in scopes):
            raise ValueError("a list may hold whole subscriptions only; give every other scope a source of its own")
        if len({scope.normal for scope in scopes}) < len(scopes):
            raise ValueError("names a subscription twice; keep one")
    return scopes

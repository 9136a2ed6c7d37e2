"""Whether a topic lets a service of AWS publish, by its policy. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

# With these AWS:SourceOwner of SNS's own default policy is set; the budgets service does not set it.
_SETS_OWNER = frozenset(("cloudwatch.amazonaws.com",))


def lets_publish(policy: str, *, service: str, source_arn: str, account: str, topic: str) -> bool:
    """Whether `service` may publish for `source_arn`, of `account`. A policy that cannot be read lets nobody."""
    try:
        statements = json.loads(policy)["Statement"]
    except (ValueError, KeyError, TypeError):
        return False
    facts = {"aws:sourceaccount": account, "aws:sourcearn": source_arn}
    if service in _SETS_OWNER:
        facts["aws:sourceowner"] = account
    statements = [statements] if isinstance(statements, dict) else statements
    about = [one for one in statements if _is_about(one, service, topic)]
    allowed = any(one.get("Effect") == "Allow" and _holds(one.get("Condition") or {}, facts) for one in about)
    denied = any(one.get("Effect") == "Deny" and _holds(one.get("Condition") or {}, facts) for one in about)
    return allowed and not denied


def _is_about(statement: Mapping[str, Any], service: str, topic: str) -> bool:
    principal = statement.get("Principal")
    principals = _list(principal) if not isinstance(principal, dict) else []
    if isinstance(principal, dict):
        principals = [*_list(principal.get("Service")), *(one for one in _list(principal.get("AWS")) if one == "*")]
    actions = [str(one).lower() for one in _list(statement.get("Action"))]
    resources = _list(statement.get("Resource", "*"))
    return (
        any(one in ("*", service) for one in principals)
        and any(fnmatchcase("sns:publish", one) for one in actions)
        and any(fnmatchcase(topic, str(one)) for one in resources)
    )


def _holds(condition: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    """A condition on something that is not known here does not hold: better a false warning than a false promise."""
    for operator, wanted in condition.items():
        for key, values in wanted.items():
            fact = facts.get(key.lower())
            if fact is None or not any(_matches(operator, fact, str(value)) for value in _list(values)):
                return False
    return True


def _matches(operator: str, fact: str, value: str) -> bool:
    if operator.lower() in ("stringequals", "arnequals") and "*" not in value:
        return fact == value
    return operator.lower() in ("stringlike", "arnlike", "arnequals") and fnmatchcase(fact, value)


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]

"""Keys of the config that the sources of Google Cloud share, and how they are written."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from alarms.clients.gcp_settings import PROJECT
from alarms.money import parse_amount
from monitor.billing_months import BillingMonths

# Invoices and budgets of Google go by the clocks of California.
BILLING_MONTHS = BillingMonths(zone="America/Los_Angeles")
_ACCOUNT = re.compile(r"[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}", re.ASCII)
_EXPORT = re.compile(r"gcp_billing_export_(?:resource_)?v1_([0-9A-F]{6})_([0-9A-F]{6})_([0-9A-F]{6})", re.ASCII)
_TABLE = re.compile(rf"{PROJECT}\.[A-Za-z0-9_]{{1,1024}}\.[A-Za-z0-9_-]{{1,1024}}", re.ASCII)
_LABEL = re.compile(r"[a-z\u00df-\uffff][a-z0-9_\u00df-\uffff-]{0,62}")
_SIZE = re.compile(r"(\d{1,6})(MB|GB|TB)", re.ASCII)
_UNITS = {"MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_LEAST = 10 * _UNITS["MB"]


def billing_account_in(table: str) -> str | None:
    """`0123AB-4567CD-89EF01`, which Google writes into the name of its export; None for another name."""
    found = _EXPORT.fullmatch(table.rpartition(".")[2])
    return "-".join(found.groups()) if found else None


def _table(name: str) -> str:
    if not _TABLE.fullmatch(name):
        raise ValueError(
            'expected project.dataset.table, such as "proj.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"'
        )
    return name


def _project(name: str) -> str:
    if not re.fullmatch(PROJECT, name, re.ASCII):
        raise ValueError('expected the id of a project, such as "my-project"')
    return name


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise ValueError('expected the id of a billing account, such as "0123AB-4567CD-89EF01"')
    return text


def _label(key: str) -> str:
    if not _LABEL.fullmatch(key):
        raise ValueError('expected the key of a label, such as "training-run": lower case, digits, _ and -')
    return key


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = int(match[1]) * _UNITS[match[2]] if match else value
    if not isinstance(size, int) or isinstance(size, bool) or size < _LEAST:
        raise ValueError('expected a size such as "500MB", "200GB" or "1TB"; "10MB", the least that is billed, or more')
    return size


def _dollars(value: Any) -> Decimal:
    try:
        amount = parse_amount(str(value))
    except ValueError:
        amount = Decimal(0)
    if amount <= 0:
        raise ValueError('expected an amount in dollars above zero, such as "10"')
    return amount


def _subscription(name: str) -> str:
    if not re.fullmatch(rf"projects/{PROJECT}/subscriptions/[A-Za-z][A-Za-z0-9._~+%-]{{2,254}}", name, re.ASCII):
        raise ValueError('expected "projects/PROJECT/subscriptions/NAME"')
    return name


SubscriptionName = Annotated[str, AfterValidator(_subscription)]
TableName = Annotated[str, AfterValidator(_table)]
ProjectId = Annotated[str, AfterValidator(_project)]
BillingAccount = Annotated[str, AfterValidator(_account)]
LabelKey = Annotated[str, AfterValidator(_label)]
Size = Annotated[int, BeforeValidator(_size)]
Dollars = Annotated[Decimal, BeforeValidator(_dollars)]

"""AWS: an alarm of CloudWatch on EstimatedCharges for each threshold on actual spend, and a budget of AWS Budgets.

The alarms are the faster: EstimatedCharges moves several times a day. The budgets know forecasts, other periods,
regions and tags, and send mail by themselves; they are looked at by AWS up to three times a day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from alarms.clients import aws_twins as forms
from alarms.clients.aws import AwsSettings, make_client
from alarms.clients.aws_budgets import Alarms, Budgets
from alarms.clients.aws_calls import call
from alarms.clients.aws_design import Draft
from alarms.clients.aws_drill import Drill
from alarms.ports import Native
from alarms.twins import Design, Owned, Step, Twin, Wanted

CLOUD = "aws"
_RETRIES = 2
# Where EstimatedCharges is published, for sources that do not read it themselves.
_BILLING_REGION, _BILLING_REGION_CN = "us-east-1", "cn-northwest-1"


def create(settings: AwsSettings, *, prefix: str, now: Callable[[], datetime]) -> Native:
    """The native of the account that a source with these settings reads; nothing is connected to yet."""
    return AwsNative(settings, prefix, now)


class AwsNative:
    """Twins in one account."""

    cloud = CLOUD

    def __init__(self, settings: AwsSettings, prefix: str, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._prefix = prefix
        self._now = now
        # What such a source reads is EstimatedCharges: its region and its address are those of CloudWatch.
        self._reads_it = getattr(settings, "type", "") == "aws_cloudwatch"
        china = settings.region.startswith("cn-")
        elsewhere = _BILLING_REGION_CN if china else _BILLING_REGION
        self.region = settings.region if self._reads_it else elsewhere

    def place(self) -> str:
        """The number of the account."""
        return self._identity[0]

    def design(self, wanted: Wanted, place: str) -> Design:
        """See the port."""
        return Draft(wanted, self._prefix, self.region, place).design()

    def owned(self) -> Owned:
        """See the port."""
        alarms, budgets = self._alarms.owned(), self._budgets.owned()
        return Owned((*alarms.twins, *budgets.twins), {**alarms.foreign, **budgets.foreign})

    def create(self, twin: Twin) -> None:
        """See the port."""
        self._keeper(twin).create(twin)

    def update(self, actual: Twin, wanted: Twin) -> None:
        """See the port."""
        self._keeper(wanted).update(actual, wanted)

    def delete(self, twin: Twin) -> None:
        """See the port."""
        self._keeper(twin).delete(twin)

    def drill(self, twins: Sequence[Twin]) -> list[Step]:
        """See the port."""
        return Drill(self._client("cloudwatch"), self._topics, *self._identity).of(twins)

    def _keeper(self, twin: Twin) -> Alarms | Budgets:
        return self._alarms if twin.kind == forms.ALARM else self._budgets

    @cached_property
    def _identity(self) -> tuple[str, str]:
        """The account and the partition."""
        answer = call(self._client("sts"), "get_caller_identity")
        return str(answer["Account"]), str(answer["Arn"]).split(":")[1]

    @cached_property
    def _alarms(self) -> Alarms:
        return Alarms(self._client("cloudwatch"), self._prefix)

    @cached_property
    def _budgets(self) -> Budgets:
        account, partition = self._identity
        arn = f"arn:{partition}:budgets::{account}:budget/"
        return Budgets(self._client("budgets"), self._prefix, account, arn, self._now)

    def _topics(self, region: str) -> Any:
        return self._client("sns", region)

    def _client(self, service: str, region: str | None = None) -> Any:
        address = self._settings.endpoint_url if self._reads_it and service == "cloudwatch" else None
        as_whom = AwsSettings(
            region=self.region,
            endpoint_url=address,
            profile=self._settings.profile,
            role_arn=self._settings.role_arn,
        )
        return make_client(service, as_whom, retries=_RETRIES, region=region or self.region)

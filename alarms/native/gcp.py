"""Google Cloud: a budget of Cloud Billing, with a threshold rule for each threshold on actual spend or its forecast.

It tells people by e-mail and a Pub/Sub topic by messages, the same for all of its thresholds; Google judges it several
times a day.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property

from alarms.clients.gcp_budgets import Budgets
from alarms.clients.gcp_calls import Apis
from alarms.clients.gcp_design import Draft, Told
from alarms.clients.gcp_drill import Drill
from alarms.clients.gcp_names import Names
from alarms.clients.gcp_settings import GcpTwinSettings
from alarms.errors import PermanentError
from alarms.ports import Native
from alarms.twins import Design, Owned, Step, Twin, Wanted

CLOUD = "gcp"


def create(
    settings: GcpTwinSettings,
    *,
    prefix: str,
    now: Callable[[], datetime],  # noqa: ARG001 - part of the interface of every cloud
) -> Native:
    """The native of the billing account that a source with these settings reads; nothing is connected to yet."""
    return GcpNative(settings, prefix)


class GcpNative:
    """Twins in one billing account."""

    cloud = CLOUD

    def __init__(self, settings: GcpTwinSettings, prefix: str) -> None:
        self._settings = settings
        self._prefix = prefix
        self._told = Told(settings.native_topic, settings.native_channels, settings.native_admins)
        self._apis = Apis(settings.native_endpoint, settings.asking_project)
        self._names = Names(self._apis)

    def place(self) -> str:
        """The id of the billing account; nobody has to be asked for it."""
        account = self._settings.budgets_account
        if account is None:
            raise PermanentError("budgets are in a billing account: say which one in billing_account of this source")
        return account

    def design(self, wanted: Wanted, place: str) -> Design:  # noqa: ARG002 - the same wherever it is
        """See the port. The first one with services or projects asks for their names."""
        design = Draft(wanted, self._prefix, self._told, self._names).design()
        self._budgets.names |= {twin.name: twin.budget for twin in design.twins}
        return design

    def owned(self) -> Owned:
        """See the port. Budgets have no tags: ours are known by a name that ends with a mark."""
        self._names.forget_failures()
        return self._budgets.owned()

    def create(self, twin: Twin) -> None:
        """See the port."""
        self._budgets.create(twin)

    def update(self, actual: Twin, wanted: Twin) -> None:  # noqa: ARG002 - all of it is written
        """See the port."""
        self._budgets.update(wanted)

    def delete(self, twin: Twin) -> None:
        """See the port."""
        self._budgets.delete(twin)

    def drill(self, twins: Sequence[Twin]) -> list[Step]:
        """See the port."""
        return Drill(self._apis, self._budgets).of(twins)

    @cached_property
    def _budgets(self) -> Budgets:
        return Budgets(self._apis, self._prefix, self.place())

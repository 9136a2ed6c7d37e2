"""What a source of Google Cloud says about the twins of its budgets."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from alarms.settings import StrictModel

# Its id, within an expression.
PROJECT = r"[a-z][a-z0-9.:-]{1,100}"
_TOPIC = re.compile(rf"projects/{PROJECT}/topics/[A-Za-z][A-Za-z0-9._~+%-]{{2,254}}", re.ASCII)
_CHANNEL = re.compile(rf"projects/(?:{PROJECT}|\d{{1,20}})/notificationChannels/\d{{1,30}}", re.ASCII)
# A budget has so many e-mail channels at most.
_MOST_CHANNELS = 5


def _topic(name: str) -> str:
    if not _TOPIC.fullmatch(name):
        raise ValueError('expected "projects/PROJECT/topics/NAME"')
    return name


def _channel(name: str) -> str:
    if not _CHANNEL.fullmatch(name):
        raise ValueError('expected "projects/PROJECT/notificationChannels/NUMBER"')
    return name


class GcpTwinSettings(StrictModel):
    """Whom the budgets of Cloud Billing tell, which no receiver of ours is. `native_endpoint` None: Google's own."""

    native_topic: Annotated[str, AfterValidator(_topic)] | None = None
    native_channels: list[Annotated[str, AfterValidator(_channel)]] = Field(
        default_factory=list, max_length=_MOST_CHANNELS
    )
    native_admins: bool = True
    native_endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")] | None = None

    @property
    def budgets_account(self) -> str | None:
        """The id of the billing account that the budgets are in; None: not known."""
        return getattr(self, "billing_account", None)

    @property
    def asking_project(self) -> str:
        """The project in which the APIs have to be enabled, as far as is known; for what errors say."""
        return str(getattr(self, "project", None) or "(the one of these credentials)")

    @model_validator(mode="after")
    def _somebody_hears(self) -> Any:
        if not self.native_admins and not self.native_channels:
            # With thresholds Google wants one of the two, whether or not there is a topic.
            raise ValueError("native_admins = false leaves nobody who gets e-mail: name native_channels")
        return self

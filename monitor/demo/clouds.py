"""Three clouds on this machine, each behind the protocol of the real one, that bill what the story says."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from alarms.model import Period
from alarms.money import total
from monitor.demo import story
from monitor.demo.story import Cloud
from monitor.period import midnight
from monitor.simulation.aws import AwsAccount
from monitor.simulation.azure import SUBSCRIPTION, AzureCloud
from monitor.simulation.bigquery import BigQueryService
from monitor.simulation.billing_export import ExportLine
from monitor.simulation.gcp import PROJECT, GoogleCloud
from monitor.simulation.gcp_budgets import BudgetService

TABLE = f"{PROJECT}.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"
SCOPE = f"/subscriptions/{SUBSCRIPTION}"
_DAY = timedelta(days=1)
# Where nobody listens: whatever was meant for another machine ends here.
_NOWHERE = "http://127.0.0.1:9"


class Clouds:
    """A context manager: AWS by CloudWatch, GCP by BigQuery, Azure by Cost Management over HTTPS."""

    def __init__(self, directory: Path) -> None:
        self.aws = AwsAccount()
        self.gcp = GoogleCloud()
        self.azure = AzureCloud(directory)
        self._bigquery = BigQueryService(self.gcp)
        # Where the monitor looks whether twins are left over.
        BudgetService(self.gcp)
        self._directory = directory
        self._open = ExitStack()
        self._billed = dict.fromkeys(Cloud, story.MONTH.start)

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            for cloud in (self.aws, self.gcp, self.azure):
                opening.enter_context(cloud)
            opening.callback(self._bigquery.close)
            self._bigquery.create_table(TABLE)
            self.topic = self.aws.create_topic("budgets")
            self.aws.let_budgets_publish(self.topic)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()

    def environment(self) -> dict[str, str]:
        """Variables with which every tool of the three clouds talks to these, and to nothing outside this machine."""
        outside = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "https_proxy", "http_proxy"), _NOWHERE)
        clouds = self.aws.environment | self.gcp.environment(self._directory) | self.azure.environment
        return outside | clouds | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def publish(self, moment: story.Moment) -> None:
        """Let each cloud bill what it would by then."""
        if moment.aws_publishes:
            self._publish_aws(moment.at)
        self._export_gcp(self._next(Cloud.GCP, moment.at))
        self._bill_azure(self._next(Cloud.AZURE, moment.at))

    def judge(self, now: datetime) -> list[tuple[str, str, str]]:
        """Let AWS judge its alarms: (name, old state, new state) of those that changed."""
        return self.aws.evaluate_alarms(now)

    def _next(self, cloud: Cloud, at: datetime) -> Period:
        """What was not billed before."""
        billed, self._billed[cloud] = self._billed[cloud], story.billed_until(cloud, at)
        return Period(billed, self._billed[cloud])

    def _publish_aws(self, at: datetime) -> None:
        """The month to date: each service, and the total."""
        services = story.bill(Cloud.AWS, at)
        for service, value in services.items():
            self.aws.publish_charge(at, value, service=service)
        self.aws.publish_charge(at, total(services.values()))

    def _export_gcp(self, used: Period) -> None:
        """A line for each service; a day of usage at most, since a line belongs to the day of its start."""
        lines = [
            ExportLine(day.start, amount, end=day.end, service=service, exported_at=used.end)
            for day in _days(used)
            for service, amount in story.cost(Cloud.GCP, day).items()
            if amount
        ]
        if lines:
            self._bigquery.load(TABLE, lines)

    def _bill_azure(self, used: Period) -> None:
        for day in _days(used):
            for service, amount in story.cost(Cloud.AZURE, day).items():
                if amount:
                    self.azure.bill(day.start.date(), service, str(amount))


def _days(period: Period) -> list[Period]:
    """Its days, the first and the last in part."""
    found, start = [], period.start
    while start < period.end:
        end = min(midnight(start) + _DAY, period.end)
        found.append(Period(start, end))
        start = end
    return found

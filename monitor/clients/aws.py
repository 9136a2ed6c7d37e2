"""AWS/Billing EstimatedCharges as CloudWatch serves it: which metrics there are, and their readings."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, TypeAlias

from alarms.clients.aws import AwsSettings, translated
from monitor.errors import BadDataError, TemporaryError
from monitor.model import ApiUse

# (LinkedAccount, ServiceName), "" where the metric has no such dimension.
Metric: TypeAlias = tuple[str, str]
Point: TypeAlias = tuple[datetime, Decimal]

_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"))
_NAMED = {"Namespace": "AWS/Billing", "MetricName": "EstimatedCharges"}
# Limits and price of GetMetricData, https://aws.amazon.com/cloudwatch/pricing: $0.01 per 1,000 metrics requested.
# ListMetrics costs nothing below a million calls a month.
_MOST_QUERIES = 500
_USD_PER_METRIC = Decimal("0.00001")
_PERIOD_S = 3600
# More pages than the longest honest answer has: 500 metrics hourly for 455 days; a million metrics.
_METHODS = {"GetMetricData": "get_metric_data", "ListMetrics": "list_metrics"}
_RESULTS = {"GetMetricData": "MetricDataResults", "ListMetrics": "Metrics"}
_RESULT = {"Id", "Timestamps", "Values", "StatusCode"}
_MOST_PAGES = {"GetMetricData": 100, "ListMetrics": 2000}
_NO_ANSWER = "no answer"
_MAY_GO_ON = (_NO_ANSWER, "PartialData", "Complete")
# What an exact amount may have before and after the point; nothing that anybody pays is near either.
_LIMIT = 1e15
_SMALL = 0.01
_PLACES = Decimal(1).scaleb(-18)


def bill_of_account(settings: AwsSettings) -> str:
    """Who pays, as far as the settings say: the same for every source that asks as the same somebody.

    Not where it asks: the services of AWS have addresses of their own.
    """
    partition = next((found for start, found in _PARTITIONS if settings.region.startswith(start)), "aws")
    return ":".join((partition, settings.profile or "", settings.role_arn or ""))


class BillingMetrics:
    """Reads through one client in one currency, for `seconds` in all; counts what that costs.

    `failed`: metrics whose readings could not be had, with CloudWatch's word for it. `rejected`: unusable readings.
    """

    def __init__(self, client: Any, currency: str, *, seconds: float) -> None:
        self._client = client
        self._currency = currency
        self._give_up_at = time.monotonic() + seconds
        self._requested = 0
        self._calls = 0
        self.failed: dict[Metric, str] = {}
        self.rejected = 0

    @property
    def use(self) -> ApiUse:
        """Calls made so far, and their price."""
        return ApiUse(self._calls, self._requested * _USD_PER_METRIC)

    @property
    def missing(self) -> tuple[str, ...]:
        """That some readings were unusable, as a missing part."""
        return (f"{self.rejected} unusable reading{'s' * (self.rejected > 1)}",) if self.rejected else ()

    def listed(self, dimension: str | None) -> set[Metric]:
        """Every metric in the currency, the total aside, or those with this dimension (ServiceName, LinkedAccount)."""
        filters = [{"Name": "Currency", "Value": self._currency}]
        if dimension is not None:
            filters.append({"Name": dimension})
        return {
            (named.get("LinkedAccount", ""), named.get("ServiceName", ""))
            for named in self._dimensions(filters)
            if len(named) > 1 and named.keys() <= {"Currency", "LinkedAccount", "ServiceName"}
        }

    def currencies(self) -> set[str]:
        """Every currency that EstimatedCharges is published in."""
        return {named["Currency"] for named in self._dimensions([{"Name": "Currency"}])}

    def read(self, since: Mapping[Metric, datetime], until: datetime) -> dict[Metric, list[Point]]:
        """The readings of each metric from its instant on, before `until`, oldest first; the largest of each hour."""
        found: dict[Metric, list[Point]] = {}
        # Those that start together are asked for together: a call has one start.
        ordered = iter(sorted(since, key=lambda metric: (since[metric], metric)))
        while chunk := list(islice(ordered, _MOST_QUERIES)):
            found |= self._read_chunk(chunk, since[chunk[0]], until)
        for metric, start in since.items():
            points = found[metric]
            if points and points[0][0] < start:
                found[metric] = [point for point in points if point[0] >= start]
        return found

    def _read_chunk(self, chunk: Sequence[Metric], start: datetime, until: datetime) -> dict[Metric, list[Point]]:
        found: dict[Metric, list[Point]] = {metric: [] for metric in chunk}
        unread = dict.fromkeys(chunk, _NO_ANSWER)
        names = {f"m{number}": metric for number, metric in enumerate(chunk)}
        parameters = {
            "MetricDataQueries": [self._query(name, metric) for name, metric in names.items()],
            "StartTime": start,
            "EndTime": until,
            "ScanBy": "TimestampAscending",
        }
        for page in self._pages("GetMetricData", parameters, metrics=len(chunk)):
            for result in page["MetricDataResults"]:
                if not isinstance(result, dict) or not result.keys() >= _RESULT:
                    raise BadDataError("CloudWatch answered GetMetricData without what every result of it has")
                metric = names.get(result["Id"])
                if metric is None:
                    raise BadDataError("CloudWatch answered GetMetricData with a metric that was not asked for")
                self._take(result["Timestamps"], result["Values"], found[metric])
                # PartialData goes on in the next page; what another word has cost is not known.
                if unread[metric] in _MAY_GO_ON:
                    unread[metric] = result["StatusCode"]
        for metric, status in unread.items():
            found[metric].sort()
            if status == "Complete":
                self.failed.pop(metric, None)
            else:
                self.failed[metric] = status
        return found

    def _take(self, instants: Sequence[datetime], values: Sequence[float], points: list[Point]) -> None:
        if len(instants) != len(values):
            raise BadDataError("CloudWatch answered GetMetricData with another number of values than of timestamps")
        for instant, value in zip(instants, values, strict=True):
            # NaN and the infinities arrive as text or as floats that fail the comparison. True is an int.
            if type(value) not in (float, int) or not -_LIMIT < value < _LIMIT:
                self.rejected += 1
                continue
            # The shortest text that stands for the float is what AWS wrote: 0.1, not 0.1000000000000000055.
            amount = Decimal(repr(value))
            points.append((instant, amount.quantize(_PLACES) if value and -_SMALL < value < _SMALL else amount))

    def _query(self, name: str, metric: Metric) -> dict[str, Any]:
        account, service = metric
        dimensions = [{"Name": "Currency", "Value": self._currency}]
        if account:
            dimensions.append({"Name": "LinkedAccount", "Value": account})
        if service:
            dimensions.append({"Name": "ServiceName", "Value": service})
        stat = {"Metric": {**_NAMED, "Dimensions": dimensions}, "Period": _PERIOD_S, "Stat": "Maximum"}
        return {"Id": name, "MetricStat": stat}

    def _dimensions(self, filters: Collection[Mapping[str, str]]) -> Iterator[dict[str, str]]:
        for page in self._pages("ListMetrics", {**_NAMED, "Dimensions": filters}):
            for metric in page["Metrics"]:
                try:
                    named = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
                except (KeyError, TypeError) as error:
                    raise BadDataError("CloudWatch answered ListMetrics with a metric without dimensions") from error
                yield named

    def _pages(self, operation: str, parameters: dict[str, Any], *, metrics: int = 0) -> Iterator[dict[str, Any]]:
        """Every page of an answer. A server that goes round in circles is caught, and the deadline kept."""
        call = getattr(self._client, _METHODS[operation])
        tokens: set[str] = set()
        while len(tokens) < _MOST_PAGES[operation]:
            if time.monotonic() > self._give_up_at:
                raise TemporaryError(f"CloudWatch took too long to answer all of {operation}")
            self._calls += 1
            self._requested += metrics
            try:
                with translated():
                    page = call(**parameters)
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
                # What botocore falls over: JSON of another shape.
                raise BadDataError(f"what answered {operation} was not CloudWatch, or its answer is damaged") from error
            # botocore takes an answer that was cut off, or a proxy's page, for one without content.
            if _RESULTS[operation] not in page:
                raise BadDataError(f"what answered {operation} was not CloudWatch, or its answer was cut off")
            yield page
            token = page.get("NextToken")
            if not token:
                return
            if token in tokens:
                break
            tokens.add(token)
            parameters = {**parameters, "NextToken": token}
        raise BadDataError(f"CloudWatch answered {operation} with pages without end")

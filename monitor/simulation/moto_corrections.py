"""What moto's CloudWatch does otherwise than AWS, put right: without it tests pass for wrong reasons.

Each correction says what moto does and what AWS does. `apply` changes moto for the whole process, once.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from moto.cloudwatch import models, responses
from moto.cloudwatch.exceptions import ValidationError
from moto.core.responses import ActionResult

from monitor.simulation import moto_alarms, moto_budgets

_MOST_QUERIES = 500
_MOST_POINTS = 100_800
_COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


@cache
def apply() -> None:
    """Correct moto in this process; a second call does nothing."""
    backend: Any = models.CloudWatchBackend
    response: Any = responses.CloudWatchResponse
    response.get_metric_data = _get_metric_data
    backend.get_filtered_metrics = _distinct_metrics
    moto_alarms.apply()
    moto_budgets.apply()


def evaluate_alarms(now: datetime, *, account: str, region: str) -> list[tuple[str, str, str]]:
    """Judge every alarm as of `now` and publish changes to its SNS topics: (name, old state, new state).

    moto: never does. AWS: continuously; here windows are aligned to the epoch, where AWS slides them by the minute.
    """
    backend = models.cloudwatch_backends[account][region]
    changes = []
    for alarm in list(backend.alarms.values()):
        before, after = alarm.state_value, _judged(backend, alarm, now)
        if after == before:
            continue
        alarm.update_state(f"Threshold Crossed: limit {alarm.threshold}", "{}", after)
        changes.append((alarm.name, before, after))
        moto_alarms.publish_change(alarm, before, now, account, region)
    return changes


def _get_metric_data(self: Any) -> ActionResult:
    """moto: no limit of queries, no paging, expressions answered with nothing. AWS: 500, pages, and no such silence."""
    params = self._get_params()
    queries = params.get("MetricDataQueries", [])
    if len(queries) > _MOST_QUERIES:
        raise ValidationError("The collection MetricDataQueries must not have a size greater than 500.")
    if any("MetricStat" not in query for query in queries):
        raise ValidationError("This simulation knows no expressions: every query needs a MetricStat.")
    room = int(params.get("MaxDatapoints") or _MOST_POINTS)
    first = int(params.get("NextToken") or 0)
    newest_first = params.get("ScanBy") != "TimestampAscending"
    results, seen = [], 0
    by_dimensions = _index(self.cloudwatch_backend)
    for query in queries:
        points = _points(by_dimensions, query["MetricStat"], params["StartTime"], params["EndTime"])
        if newest_first:
            points.reverse()
        page = points[max(0, first - seen) : max(0, first + room - seen)]
        more = seen + len(points) > first + room
        seen += len(points)
        results.append(_result(query, page, "PartialData" if more else "Complete"))
    answer: dict[str, Any] = {"MetricDataResults": results}
    if seen > first + room:
        answer["NextToken"] = str(first + room)
    return ActionResult(answer)


def _result(query: Any, points: Sequence[tuple[datetime, Any]], status: str) -> dict[str, Any]:
    return {
        "id": query["Id"],
        "label": query.get("Label") or query["MetricStat"]["Metric"]["MetricName"],
        "timestamps": [instant for instant, _ in points],
        "values": [value for _, value in points],
        "status_code": status,
    }


_Key = tuple[str, str, tuple[tuple[str, str], ...]]


def _index(backend: Any) -> dict[_Key, list[Any]]:
    """The stored values by namespace, name and exact set of dimensions.

    moto: ignores the namespace once there are dimensions, minds their order, and without any matches every set.
    AWS: namespace, name and exactly this set of dimensions, in any order.
    """
    found: dict[_Key, list[Any]] = {}
    for datum in backend.metric_data:
        found.setdefault(_key(datum.namespace, datum.name, datum.dimensions), []).append(datum)
    return found


def _key(namespace: str, name: str, dimensions: Iterable[Any]) -> _Key:
    pairs = ((d["Name"], d["Value"]) if isinstance(d, Mapping) else (d.name, d.value) for d in dimensions)
    return namespace, name, tuple(sorted(pairs))


def _points(index: Mapping[_Key, list[Any]], stat: Any, start: Any, end: Any) -> list[tuple[datetime, Any]]:
    """moto: buckets begin at the query's start. AWS: at multiples of the period since the epoch."""
    metric = stat["Metric"]
    data = index.get(_key(metric["Namespace"], metric["MetricName"], metric.get("Dimensions") or ()), ())
    return _buckets(data, int(stat["Period"]), _utc(start), _utc(end), stat["Stat"])


def _buckets(data: Iterable[Any], period: int, start: datetime, end: datetime, stat: str) -> list[tuple[datetime, Any]]:
    buckets: dict[int, list[Any]] = {}
    for datum in data:
        instant = _utc(datum.timestamp)
        if start <= instant < end:
            buckets.setdefault(int(instant.timestamp()) // period * period, []).append(datum)
    points = []
    for second in sorted(buckets):
        statistics = models.Statistics([stat], datetime.fromtimestamp(second, UTC))
        statistics.metric_data = buckets[second]
        points.append((statistics.timestamp, statistics.get_statistics_for_type(stat)))
    return points


def _distinct_metrics(self: Any, metric_name: str, namespace: str, dimensions: Sequence[dict[str, str]]) -> list[Any]:
    """moto: compares each value with all before it, slowly. AWS: lists each metric once."""
    found: dict[_Key, Any] = {}
    for datum in self.get_all_metrics():
        key = _key(datum.namespace, datum.name, datum.dimensions)
        if key not in found and datum.filter(namespace, metric_name, _named_only(datum, dimensions)):
            found[key] = datum
    return list(found.values())


def _named_only(datum: Any, filters: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """moto: a filter that names a dimension without a value matches nothing. AWS: every value of it."""
    values = {d.name: d.value for d in datum.dimensions}
    return [{"Name": f["Name"], "Value": f.get("Value") or values.get(f["Name"], "")} for f in filters]


def _judged(backend: Any, alarm: Any, now: datetime) -> str:
    periods, period = int(alarm.evaluation_periods), int(alarm.period)
    data = _index(backend).get(_key(alarm.namespace, alarm.metric_name, alarm.dimensions), ())
    points = _buckets(data, period, now - timedelta(seconds=period * periods), now, alarm.statistic)
    over = _COMPARISONS[alarm.comparison_operator]
    breaching = [over(value, float(alarm.threshold)) for _, value in points]
    treat = alarm.treat_missing_data or "missing"
    if treat in ("breaching", "notBreaching"):
        breaching += [treat == "breaching"] * (periods - len(points))
    if not breaching:
        return str(alarm.state_value) if treat == "ignore" else "INSUFFICIENT_DATA"
    return "ALARM" if sum(breaching) >= int(alarm.datapoints_to_alarm or periods) else "OK"


def _utc(instant: Any) -> datetime:
    if not isinstance(instant, datetime):
        return datetime.fromtimestamp(float(instant), UTC)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)

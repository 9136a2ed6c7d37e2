"""What moto's CloudWatch alarms do otherwise than those of AWS, put right. `apply` is part of moto_corrections."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from moto.cloudwatch import models, responses
from moto.cloudwatch.exceptions import ValidationError
from moto.core.responses import ActionResult
from moto.sns.exceptions import SNSException
from moto.sns.models import sns_backends

_MOST_NAMES, _MOST_RECORDS, _MOST_ACTIONS = 100, 100, 5
_USUAL_RECORDS = 50
_MOST_SECONDS = 604_800
_LISTS = ("alarm_actions", "ok_actions", "insufficient_data_actions")


def apply() -> None:
    """Correct moto in this process."""
    backend: Any = models.CloudWatchBackend
    response: Any = responses.CloudWatchResponse
    backend.put_metric_alarm = _put(backend.put_metric_alarm)
    backend.set_alarm_state = _set_state(backend.set_alarm_state)
    backend.delete_alarms = _delete(backend.delete_alarms)
    response.describe_alarms = _describe(response.describe_alarms)
    response.describe_alarm_history = _describe_history


def publish_change(alarm: Any, before: str, at: datetime, account: str, region: str) -> None:
    """Call the topics of the state that an alarm now has, and note in its history how that went."""
    actions = {"ALARM": alarm.alarm_actions, "OK": alarm.ok_actions}.get(
        alarm.state_value, alarm.insufficient_data_actions
    )
    for topic in (actions or []) if alarm.actions_enabled else []:
        message = _message(alarm, before, at, account, region)
        subject = f'{alarm.state_value}: "{alarm.name}" in {region}'
        try:
            sns_backends[account][region].publish(message, topic, subject=subject[:100])
        except SNSException:
            _history(alarm).append((at, f"Failed to execute action {topic}"))
        else:
            _history(alarm).append((at, f"Successfully executed action {topic}"))


def _history(alarm: Any) -> list[tuple[datetime, str]]:
    if not hasattr(alarm, "executed"):
        alarm.executed = []
    executed: list[tuple[datetime, str]] = alarm.executed
    return executed


def _put(original: Any) -> Any:
    def put(self: Any, name: str, *args: Any, tags: Any = None, **kwargs: Any) -> Any:
        """moto: a new alarm is OK, a changed one too. AWS: a new one has INSUFFICIENT_DATA, a changed one its state.

        moto: takes any period and any action, and tags of a change. AWS: whole minutes, a week in all, topics of its
        own region, and it ignores tags that come with a change.
        """
        _check(self, kwargs)
        before = self.alarms.get(name)
        alarm = original(self, name, *args, tags=None if before else tags, **kwargs)
        alarm.state_value = before.state_value if before else "INSUFFICIENT_DATA"
        _history(alarm).extend(_history(before) if before else ())
        return alarm

    return put


def _check(backend: Any, asked: Any) -> None:
    period, periods = int(asked.get("period") or 60), int(asked.get("evaluation_periods") or 1)
    if period not in (10, 20, 30) and period % 60:
        raise ValidationError("The parameter Period must be 10, 20, 30 or a multiple of 60.")
    if period * periods > _MOST_SECONDS:
        raise ValidationError("Metrics cannot be checked across more than a week.")
    for name in _LISTS:
        actions = asked.get(name) or []
        if len(actions) > _MOST_ACTIONS:
            raise ValidationError(f"{name}: Member must have length less than or equal to {_MOST_ACTIONS}")
        for arn in actions:
            if arn.split(":")[2] == "sns" and arn.split(":")[3] != backend.region_name:
                raise ValidationError(f"Invalid region {arn.split(':')[3]} specified.")
            if arn.endswith(".fifo"):
                raise ValidationError(f"Invalid arn syntax: {arn}")


def _set_state(original: Any) -> Any:
    def set_alarm_state(self: Any, alarm_name: str, *args: Any, **kwargs: Any) -> None:
        """moto: tells nobody. AWS: invokes the actions of the new state, when it is another than before."""
        before = self.alarms[alarm_name].state_value if alarm_name in self.alarms else ""
        original(self, alarm_name, *args, **kwargs)
        alarm = self.alarms[alarm_name]
        if alarm.state_value != before:
            publish_change(alarm, before, alarm.state_updated_timestamp, self.account_id, self.region_name)

    return set_alarm_state


def _delete(original: Any) -> Any:
    def delete_alarms(self: Any, alarm_names: list[str]) -> None:
        """moto: any number, and keeps their tags. AWS: a hundred, and the tags go with them."""
        if len(alarm_names) > _MOST_NAMES:
            raise ValidationError(f"AlarmNames: Member must have length less than or equal to {_MOST_NAMES}")
        for name in alarm_names:
            if name in self.alarms:
                self.tagger.delete_all_tags_for_resource(self.alarms[name].alarm_arn)
        original(self, alarm_names)

    return delete_alarms


def _describe(original: Any) -> Any:
    def describe_alarms(self: Any) -> ActionResult:
        """moto: everything at once, composite alarms too. AWS: pages of fifty, and only metric alarms unless asked."""
        answer = original(self).result
        most = int(self._get_param("MaxRecords") or _USUAL_RECORDS)
        if most > _MOST_RECORDS:
            raise ValidationError(f"MaxRecords: Member must have value less than or equal to {_MOST_RECORDS}")
        types = self._get_param("AlarmTypes", []) or ["MetricAlarm"]
        first = int(self._get_param("NextToken") or 0)
        found = sorted(answer["MetricAlarms"], key=lambda one: one.name) if "MetricAlarm" in types else []
        page: dict[str, Any] = {"MetricAlarms": found[first : first + most]}
        if "CompositeAlarm" in types:
            page["CompositeAlarms"] = answer["CompositeAlarms"]
        if len(found) > first + most:
            page["NextToken"] = str(first + most)
        return ActionResult(page)

    return describe_alarms


def _describe_history(self: Any) -> ActionResult:
    """moto: not there. AWS: among others, whether each action was executed."""
    name = self._get_param("AlarmName")
    alarm = self.cloudwatch_backend.alarms.get(name)
    items = [
        {
            "AlarmName": name,
            "AlarmType": "MetricAlarm",
            "Timestamp": at,
            "HistoryItemType": "Action",
            "HistorySummary": summary,
        }
        for at, summary in reversed(_history(alarm) if alarm else [])
    ]
    return ActionResult({"AlarmHistoryItems": items})


def _message(alarm: Any, before: str, at: datetime, account: str, region: str) -> str:
    return json.dumps(
        {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": account,
            "Region": region,
            "OldStateValue": before,
            "NewStateValue": alarm.state_value,
            "NewStateReason": alarm.state_reason,
            "StateChangeTime": at.isoformat(),
            "Trigger": {
                "Namespace": alarm.namespace,
                "MetricName": alarm.metric_name,
                "Threshold": float(alarm.threshold),
            },
        }
    )

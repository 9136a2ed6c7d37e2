"""The daemon's own look at twins: how they stand, what is mended, what people hear of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.core.exceptions import JsonRESTError

from alarms.model import Period
from alarms.native.aws import AwsNative
from monitor import native_orders, orders
from monitor.app import App
from monitor.billing_months import BillingMonths, InvoiceCalendar
from monitor.clock import FixedClock
from monitor.config import load
from monitor.errors import ConfigError, UserError
from monitor.native_watch import NativeWatch
from monitor.natives import _word
from monitor.period import PeriodKind, Run
from monitor.simulation import moto_budgets
from monitor.simulation.aws import ACCOUNT, REGION, AwsAccount
from monitor.status.judge import judge
from monitor.store import facts, natives
from monitor.store.database import Store, open_store

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONFIG = """
[monitor]
state_dir = "state"
[[sources]]
name = "aws"
type = "aws_cloudwatch"
by = ["service", "account"]
[[receivers]]
name = "topic"
type = "sns"
topic_arn = "arn:aws:sns:us-east-1:123456789012:budgets"
"""
BUDGET = """
[[budgets]]
name = "{name}"
amount = "1000"
currency = "USD"
native = true
{more}
"""
NAME = "cloud-budget-monitor/training"


class World:
    """A config, a store, a clock and an account."""

    def __init__(self, directory: Path, store: Store, aws: AwsAccount) -> None:
        self.path = directory / "config.toml"
        self.store = store
        self.aws = aws
        self.clock = FixedClock(NOW)
        self.changes = 0
        self.configure(BUDGET.format(name="training", more=""))

    def configure(self, *budgets: str) -> None:
        self.path.write_text(CONFIG + "".join(budgets))
        self.path.chmod(0o600)
        self.config = load(self.path)
        self.watch = NativeWatch(self.config, self.store, self.clock, changed=self._count)

    def _count(self) -> None:
        self.changes += 1

    def look(self, after: timedelta = timedelta(0)) -> dict[str, tuple[str, str]]:
        """By budget its state and what is said of it."""
        self.clock.instant += after
        self.watch.look(now=True)
        return {row.budget: (row.state.value, row.detail) for row in self.rows()}

    def rows(self) -> list[natives.NativeRow]:
        with self.store.read() as connection:
            return natives.read(connection)

    def apply(self) -> None:
        native = AwsNative(self.config.sources[0], "cloud-budget-monitor", self.clock.now)  # type: ignore[arg-type]
        from alarms.reconcile import carry_out, compare
        from monitor.natives import Natives

        (account,) = Natives(self.config, self.clock.now).survey(self.watch._natives.wanted([])).accounts
        assert not [one for one in carry_out(native, compare(account.twins, native.owned())) if one.error]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with AwsAccount() as aws, open_store(tmp_path / "state") as store:
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        aws.let_budgets_publish(aws.create_topic("budgets"))
        yield World(tmp_path, store, aws)


def deny(monkeypatch: pytest.MonkeyPatch, where: type, operation: str, code: str = "AccessDenied") -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise JsonRESTError(code, "no")

    monkeypatch.setattr(where, operation, refuse)


def alarms() -> Any:
    return cloudwatch_backends[ACCOUNT][REGION].alarms


def test_missing_until_applied_then_in_sync_then_drifted(world: World) -> None:
    state, detail = world.look()["training"]
    assert (state, detail) == (
        "MISSING",
        f"no native backstop: alarm {NAME}/actual-100pct-critical is not there, and 2 more",
    )
    world.apply()
    assert world.look(HOUR) == {"training": ("IN_SYNC", "")}
    alarms()[f"{NAME}/actual-80pct-warning"].threshold = 8000.0
    assert world.look(HOUR) == {"training": ("DRIFTED", f"alarm {NAME}/actual-80pct-warning: Threshold differs")}
    assert world.rows()[0].since == NOW + 2 * HOUR
    assert (world.rows()[0].first_seen, world.rows()[0].place) == (NOW, ACCOUNT)
    del alarms()[f"{NAME}/actual-80pct-warning"]
    assert world.look(HOUR)["training"][0] == "MISSING"
    assert world.changes == 4


def test_nothing_is_repaired_unless_it_is_managed(world: World) -> None:
    world.look()
    assert alarms() == {}
    assert moto_budgets.budgets_of(ACCOUNT) == {}
    world.configure(BUDGET.format(name="training", more="manage = true"))
    assert world.look() == {"training": ("IN_SYNC", "")}
    budgets = boto3.client("budgets")
    notification = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}
    budgets.delete_notification(AccountId=ACCOUNT, BudgetName=NAME, Notification=notification)  # type: ignore[arg-type]
    alarms()[f"{NAME}/actual-80pct-warning"].threshold = 8000.0
    assert world.look(HOUR) == {"training": ("IN_SYNC", "")}
    assert alarms()[f"{NAME}/actual-80pct-warning"].threshold == 800.0
    assert len(moto_budgets.budgets_of(ACCOUNT)[NAME].notifications) == 2


def test_a_managed_budget_that_is_gone_takes_its_twins_with_it_another_leaves_them(world: World) -> None:
    world.configure(BUDGET.format(name="training", more="manage = true"), BUDGET.format(name="other", more=""))
    world.apply()
    world.look()
    assert len(alarms()) == 4
    world.configure(BUDGET.format(name="third", more="manage = true"))
    found = world.look(HOUR)
    assert found["third"] == ("IN_SYNC", "")
    assert found["other"] == (
        "DRIFTED",
        "alarm cloud-budget-monitor/other/actual-100pct-critical is left over, and 2 more",
    )
    assert set(found) == {"third", "other"}
    assert {name.split("/")[1] for name in alarms()} == {"third", "other"}


def test_what_another_daemon_with_our_prefix_has_made_is_shown_and_left(world: World) -> None:
    world.configure(BUDGET.format(name="theirs", more="manage = true"))
    world.apply()
    world.configure(BUDGET.format(name="training", more="manage = true"))
    assert world.look()["theirs"][0] == "DRIFTED"
    assert world.look(HOUR)["theirs"][0] == "DRIFTED"
    assert len(alarms()) == 4


def test_without_native_nobody_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.configure(BUDGET.format(name="training", more="").replace("native = true", ""))
    asked: list[str] = []
    monkeypatch.setattr(AwsNative, "place", lambda self: asked.append("place"))
    assert world.look() == {}
    assert asked == []


def test_the_last_twin_leaves_no_row(world: World) -> None:
    world.configure(BUDGET.format(name="training", more="manage = true"))
    world.look()
    world.configure(BUDGET.format(name="training", more="").replace("native = true", ""))
    assert world.look(HOUR) == {}
    assert alarms() == {}
    assert moto_budgets.budgets_of(ACCOUNT) == {}


# --- reliability: denied, throttled, unreachable, defective ---------------------------------------------------------


def test_writes_that_are_denied_leave_a_budget_without_a_backstop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(monkeypatch, CloudWatchBackend, "put_metric_alarm")
    world.configure(BUDGET.format(name="training", more="manage = true"))
    state, detail = world.look()["training"]
    assert state == "MISSING"
    assert detail.startswith("no native backstop: AWS answered AccessDenied to PutMetricAlarm: allow cloudwatch:PutMet")
    assert moto_budgets.budgets_of(ACCOUNT).keys() == {NAME}, "what is allowed is done"


def test_reads_that_are_denied_are_unknown_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply()
    world.look()
    deny(monkeypatch, CloudWatchBackend, "get_alarms_by_alarm_name_prefix")
    state, detail = world.look(HOUR)["training"]
    assert state == "UNKNOWN"
    assert detail.startswith("no native backstop is known: AWS answered AccessDenied to DescribeAlarms: allow cloudwa")
    (fault,) = world.watch.faults()
    assert (fault.subject, fault.what) == (f"native aws {ACCOUNT} training", "unknown")
    assert fault.detail.endswith(". Run `monitor alarms plan`: it tries again.")


def test_what_was_seen_holds_for_a_while_when_the_cloud_is_throttled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply()
    world.look()
    with monkeypatch.context() as patch:
        deny(patch, CloudWatchBackend, "get_alarms_by_alarm_name_prefix", "ThrottlingException")
        assert world.look(HOUR) == {"training": ("IN_SYNC", "")}
        assert world.watch.faults() == []
        state, detail = world.look(3 * HOUR)["training"]
        assert (state, "too many requests" in detail) == ("UNKNOWN", True)
    assert world.look(HOUR) == {"training": ("IN_SYNC", "")}


def test_an_account_that_was_never_seen_is_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    state, detail = world.look()["training"]
    assert (state, "no native backstop is known" in detail) == ("UNKNOWN", True)
    assert world.rows()[0].place == ""
    monkeypatch.setenv("AWS_ENDPOINT_URL", world.aws.url)
    world.configure(BUDGET.format(name="training", more=""))
    world.apply()
    assert world.look(HOUR) == {"training": ("IN_SYNC", "")}
    assert [row.place for row in world.rows()] == [ACCOUNT]


def test_a_defect_is_a_fault_and_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AwsNative, "owned", lambda self: 1 / 0)
        world.watch.look(now=True)
        (fault,) = world.watch.faults()
        assert (fault.subject, fault.what) == ("native alarms", "not looked at")
    world.watch.look(now=True)
    assert [fault.what for fault in world.watch.faults()] == ["missing"]


def test_once_it_is_stopped_nothing_is_changed_or_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.configure(BUDGET.format(name="training", more="manage = true"))
    real = AwsNative.owned

    def stopped_meanwhile(native: AwsNative) -> Any:
        world.watch.stop()
        return real(native)

    monkeypatch.setattr(AwsNative, "owned", stopped_meanwhile)
    assert world.look() == {}
    assert (alarms(), world.changes) == ({}, 0)


def test_a_stop_lets_the_change_that_runs_be_the_last(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.configure(BUDGET.format(name="training", more="manage = true"))
    real = AwsNative.create

    def stopped_meanwhile(native: AwsNative, twin: Any) -> None:
        world.watch.stop()
        real(native, twin)

    monkeypatch.setattr(AwsNative, "create", stopped_meanwhile)
    assert world.look() == {}
    assert len(alarms()) == 1


def test_one_look_at_a_time_runs_aside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, over = [threading.Semaphore(0) for _ in range(3)]
    real = AwsNative.owned

    def hanging(native: AwsNative) -> Any:
        begun.release()
        go_on.acquire(timeout=20)
        return real(native)

    monkeypatch.setattr(AwsNative, "owned", hanging)
    monkeypatch.setattr(world.watch, "_changed", over.release)
    world.watch.look_aside()
    assert begun.acquire(timeout=20)
    world.watch.look_aside()
    looks = [thread for thread in threading.enumerate() if thread.name == "natives"]
    assert [thread.daemon for thread in looks] == [True]
    go_on.release()
    assert over.acquire(timeout=20)
    looks[0].join(20)
    assert [row.state.value for row in world.rows()] == ["MISSING"]
    assert not begun.acquire(blocking=False)


def test_after_a_reload_the_old_look_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.configure(BUDGET.format(name="training", more="manage = true"))
    app = App(world.config, world.store, world.clock)
    app.start()
    world.configure(BUDGET.format(name="training", more=""))
    real = AwsNative.owned

    def reloaded_meanwhile(native: AwsNative) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(AwsNative, "owned", real)
            app.replace(world.config)
            return real(native)

    monkeypatch.setattr(AwsNative, "owned", reloaded_meanwhile)
    app.look_at_natives(now=True)
    app.stop(timedelta(seconds=1))
    assert (alarms(), moto_budgets.budgets_of(ACCOUNT)) == ({}, {})


def test_it_looks_when_it_is_due_and_sooner_after_a_failure_or_a_new_budget(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(FixedClock, "monotonic", lambda self: seconds[0])
    looks: list[float] = []
    survey = world.watch._natives.survey

    def counted(*arguments: Any, **more: Any) -> Any:
        looks.append(seconds[0])
        return survey(*arguments, **more)

    monkeypatch.setattr(world.watch._natives, "survey", counted)
    for second in (0, 30, 3590, 3600, 3630):
        seconds[0] = float(second)
        world.watch.look()
    assert looks == [0, 3600]
    with monkeypatch.context() as patch:
        deny(patch, CloudWatchBackend, "get_alarms_by_alarm_name_prefix")
        seconds[0] = 7200.0
        world.watch.look()
    for second in (7260, 7500, 7530):
        seconds[0] = float(second)
        world.watch.look()
    assert looks[2:] == [7200, 7500]


# --- what people hear, and what status shows ------------------------------------------------------------------------


def status(world: World, at: datetime | None = None) -> dict[str, Any]:
    with world.store.read() as connection:
        document = json.loads(facts.read_facts(connection) or "{}")
    return judge(document, at or world.clock.now(), running=True)


def test_drift_is_told_once_and_its_end_once(world: World) -> None:
    world.aws.publish_charge(NOW - HOUR, "100")
    app = App(world.config, world.store, world.clock)
    told: list[str] = []
    for hours in range(6):
        if hours == 1:
            world.apply()
        if hours == 3:
            del alarms()[f"{NAME}/actual-80pct-warning"]
        if hours == 5:
            world.apply()
        app.look_at_natives(now=True)
        app.deliver(app.turn(world.clock.now()), timedelta(seconds=20))
        told += [one.subject or "" for one in world.aws.delivered("arn:aws:sns:us-east-1:123456789012:budgets")][
            len(told) :
        ]
        world.clock.instant += HOUR
    assert told == [
        "WARNING: Budget training has no native backstop in aws 123456789012",
        "RESOLVED: native aws 123456789012 training is no longer missing",
        "WARNING: Budget training has no native backstop in aws 123456789012",
        "RESOLVED: native aws 123456789012 training is no longer missing",
    ]


def test_status_shows_twins_and_warns_of_missing_ones_once(world: World) -> None:
    world.aws.publish_charge(NOW - HOUR, "100")
    app = App(world.config, world.store, world.clock)
    app.look_at_natives(now=True)
    app.turn(world.clock.now())
    found = status(world)
    (row,) = found["native"]
    assert {name: row[name] for name in ("budget", "cloud", "state", "place")} == {
        "budget": "training",
        "cloud": "aws",
        "state": "MISSING",
        "place": ACCOUNT,
    }
    assert found["state"] == "WARNING"
    assert [problem["text"] for problem in found["problems"]] == [
        f"native alarm of training in aws: MISSING ({row['detail']})"
    ]


CHANGE = (
    "change what the reason names (where it is the receivers, add one of type `sns` or `email`), "
    "or take `native = true` away"
)


@pytest.mark.parametrize(
    ("state", "receiver", "advice"),
    [
        ("MISSING", "", "run `monitor alarms plan` to see what differs, `monitor alarms apply` to mend it"),
        ("UNKNOWN", "", "run `monitor alarms plan`: it tries again"),
        (
            "MISSING",
            'type = "slack"\nwebhook_url = "env:SLACK"',
            CHANGE,
        ),
    ],
)
def test_what_is_advised_can_help(
    world: World, monkeypatch: pytest.MonkeyPatch, state: str, receiver: str, advice: str
) -> None:
    """`apply` reaches no cloud that `plan` cannot, and makes nothing that cannot be expressed."""
    if receiver:
        sns = 'type = "sns"\ntopic_arn = "arn:aws:sns:us-east-1:123456789012:budgets"'
        world.path.write_text(world.path.read_text().replace(sns, receiver))
        world.config = load(world.path)
        world.watch = NativeWatch(world.config, world.store, world.clock, changed=list)
        monkeypatch.setenv("SLACK", "https://hooks.slack.com/services/T/B/x")
    App(world.config, world.store, world.clock).turn(world.clock.now())
    if state == "UNKNOWN":
        deny(monkeypatch, CloudWatchBackend, "get_alarms_by_alarm_name_prefix")
    assert world.look()["training"][0] == state
    (problem,) = [one for one in status(world)["problems"] if "native alarm" in one["text"]]
    assert problem["do"] == advice
    (fault,) = world.watch.faults()
    assert fault.detail.endswith(f". {advice[0].upper()}{advice[1:]}.")


def order(world: World, **row: Any) -> str:
    named = {"budget": "training", "cloud": "aws", "place": ACCOUNT}
    arguments = {"rows": [{**named, **row}]}
    told = orders.Order(native_orders.COMMAND, arguments, "root", world.clock.now())
    return orders.obey(world.store, world.config, told)


def test_a_drill_is_kept_shown_and_asked_for_again_when_it_is_old(world: World) -> None:
    world.aws.publish_charge(NOW - HOUR, "100")
    world.apply()
    app = App(world.config, world.store, world.clock)
    app.look_at_natives(now=True)
    app.turn(world.clock.now())

    def warnings(days: int) -> list[str]:
        shown = status(world, world.clock.now() + timedelta(days=days))
        return [one["text"] for one in shown["problems"] if "native" in one["text"]]

    assert warnings(89) == []
    assert warnings(91) == ["native alarm of training in aws: never drilled"]
    order(world, drill_ok=True, drill_detail="")
    assert warnings(89) == []
    assert warnings(91) == ["native alarm of training in aws: not drilled for 91 d"]
    order(world, drill_ok=False, drill_detail="topic x: nobody has confirmed a subscription")
    assert warnings(0) == [
        "native alarm of training in aws: the drill failed: topic x: nobody has confirmed a subscription"
    ]
    app.look_at_natives(now=True)
    app.turn(world.clock.now())
    assert len(warnings(0)) == 1, "a look does not forget the drill"


def test_what_apply_has_found_is_known_at_once(world: World) -> None:
    world.look()
    order(world, state="IN_SYNC", detail="")
    assert [(row.state.value, row.since) for row in world.rows()] == [("IN_SYNC", NOW)]


@pytest.mark.parametrize(
    "row",
    [
        {"budget": "other", "state": "IN_SYNC"},
        {"budget": 7},
        {"state": "FINE"},
        {"drill_ok": "yes"},
        {"state": "IN_SYNC", "detail": ["x"]},
    ],
)
def test_nonsense_over_the_socket_changes_nothing(world: World, row: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        order(world, **row)
    for arguments in ({}, {"rows": []}, {"rows": "x"}, {"rows": ["x"]}, {"rows": [{}] * 101}):
        with pytest.raises(UserError):
            orders.obey(world.store, world.config, orders.Order("native", arguments, "root", NOW))
    assert world.rows() == []


def test_twins_of_accounts_that_this_ledger_has_not_seen_are_not_left_over(world: World) -> None:
    each = BUDGET.format(name="training", more='each = "account"')
    world.configure(each)
    for account in ("1" * 12, "2" * 12):
        world.aws.publish_charge(NOW - HOUR, "10", account=account)
    world.aws.publish_charge(NOW - HOUR, "20")
    App(world.config, world.store, world.clock).turn(NOW, everything=True)
    from alarms.reconcile import carry_out
    from monitor.natives import Natives
    from monitor.store import known_series

    with world.store.read() as connection:
        known = list(known_series.numbered(connection).values())
    made = Natives(world.config, world.clock.now)
    (account,) = made.survey(made.wanted(known)).accounts
    carry_out(account.native, account.changes)
    assert len(alarms()) == 4
    (account,) = made.survey(made.wanted(known)).accounts
    assert account.changes == ()
    (account,) = made.survey(made.wanted([])).accounts
    assert account.changes == ()
    world.configure(each + 'scope = { account = ["111111111111"] }')
    made = Natives(world.config, world.clock.now)
    (account,) = made.survey(made.wanted(known)).accounts
    assert {change.twin.budget for change in account.changes} == {"training/222222222222"}


@pytest.mark.parametrize(
    ("calendar", "word"),
    [
        (PeriodKind.WEEK, "week"),
        (InvoiceCalendar(BillingMonths(16), 3), "quarter"),
        (InvoiceCalendar(BillingMonths(), 12), "year"),
        (Run(NOW), "run"),
        (Period(NOW, NOW + HOUR), Period(NOW, NOW + HOUR)),
    ],
)
def test_every_calendar_has_a_word_that_clouds_understand(calendar: Any, word: Any) -> None:
    assert _word(calendar) == word


def test_a_budget_by_invoices_has_months_like_any_other_in_aws(world: World) -> None:
    world.configure(BUDGET.format(name="training", more='calendar = "billing"\nmanage = true'))
    assert world.look() == {"training": ("IN_SYNC", "")}
    assert moto_budgets.budgets_of(ACCOUNT)[NAME].budget["TimeUnit"] == "MONTHLY"


def test_what_a_gone_budget_has_left_is_removed_when_the_account_can_be_seen_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.configure(BUDGET.format(name="training", more="manage = true"))
    world.look()
    world.configure(BUDGET.format(name="other", more="manage = true"))
    with monkeypatch.context() as patch:
        deny(patch, CloudWatchBackend, "get_alarms_by_alarm_name_prefix")
        assert {name: state for name, (state, _) in world.look(HOUR).items()} == {
            "other": "UNKNOWN",
            "training": "IN_SYNC",
        }
    assert world.look(HOUR) == {"other": ("IN_SYNC", "")}
    assert {name.split("/")[1] for name in alarms()} == {"other"}


EXPLORER = '[[sources]]\nname = "explorer"\ntype = "aws_cost_explorer"\n'


def test_two_sources_of_one_account_share_its_twins(world: World) -> None:
    world.configure(EXPLORER, BUDGET.format(name="training", more="manage = true"))
    assert world.look() == {"training": ("IN_SYNC", "")}
    (account,) = world.watch._natives.survey(world.watch._natives.wanted([])).accounts
    assert account.sources == ("aws", "explorer")
    assert not any(one.what == "other sources" for one in account.cannot)
    assert len(alarms()) == 2


def test_a_budget_of_cost_explorer_alone_has_an_alarm_where_the_bill_is_published(world: World) -> None:
    scope = 'scope = { source = "explorer", service = ["Amazon Simple Storage Service"] }\nmanage = true'
    world.configure(EXPLORER + 'region = "eu-west-1"\n', BUDGET.format(name="training", more=scope))
    assert world.look() == {"training": ("IN_SYNC", "")}
    assert {name: alarm.region_name for name, alarm in alarms().items()}.keys() == {
        f"{NAME}/actual-100pct-critical",
        f"{NAME}/actual-80pct-warning",
    }
    (alarm, _) = alarms().values()
    assert ("ServiceName", "AmazonS3") in {(one.name, one.value) for one in alarm.dimensions}


def test_what_other_clouds_bill_is_said_not_to_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alarms.registry.natives", lambda: ("aws",))
    other = '[[sources]]\nname = "ms"\ntype = "azure_cost"\ncurrency = "USD"\n'
    other += 'scope = "/subscriptions/00000000-0000-0000-0000-000000000000"\n'
    world.configure(other, BUDGET.format(name="training", more=""))
    (account,) = world.watch._natives.survey(world.watch._natives.wanted([])).accounts
    assert "what ms bills does not count inside AWS" in [one.reason for one in account.cannot]
    with pytest.raises(ConfigError, match="none of its sources is in a cloud that can hold its twins"):
        world.configure(other, BUDGET.format(name="training", more='scope = { source = "ms" }'))

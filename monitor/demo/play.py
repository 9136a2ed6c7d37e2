"""Plays the story on the stage and shows what comes of it: every figure, alarm and message is the monitor's own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

from alarms.errors import MissingExtraError
from alarms.money import for_people
from monitor.demo import story
from monitor.errors import OutputError
from monitor.output import say

if TYPE_CHECKING:
    from monitor.demo.screen import Screen
    from monitor.demo.stage import Outcome, Stage

INTERRUPTED = 128 + signal.SIGINT
# What the user has set for real clouds and a real state must not reach the simulated ones.
_FOREIGN = (
    *("AWS_", "BOTO", "MOTO_", "GOOGLE_", "GCLOUD_", "GCE_", "CLOUDSDK_", "BIGQUERY_", "PUBSUB_", "NO_GCE_"),
    *("AZURE_", "ARM_", "MSI_", "IDENTITY_", "IMDS_", "REQUESTS_", "CURL_", "SSL_CERT_", "GRPC_", "MONITOR_"),
)
_FOREIGN_NAMES = frozenset(("CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY", "STATE_DIRECTORY"))
_OURS = frozenset(("alarms", "monitor"))
# Seconds for the eye: a calm day, something new, something to read. Half a minute in all.
_CALM, _NEWS, _READ = 0.15, 0.35, 1.3


def show(*, fast: bool) -> int:
    """Play it all; the exit code. `fast`: without pauses. Raises MissingExtraError, OutputError."""
    try:
        with _ending_well(), _own_environment():
            _play(fast=fast)
    except KeyboardInterrupt:
        say("\nThe demo was stopped; nothing of it is left behind.")
        return INTERRUPTED
    return 0


def _play(*, fast: bool) -> None:
    try:
        from monitor.demo.screen import Screen
        from monitor.demo.stage import Stage
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _OURS:
            raise  # a defect of ours, which no installation cures
        install = "pip install 'cloud-budget-monitor[demo]'"
        raise MissingExtraError(f"The demo needs the package {package}: {install}") from error
    if sys.stdout is None:
        raise OutputError("stdout is closed; the demo would be seen by nobody")
    screen = Screen(sys.stdout, pauses=not fast)
    _open(screen)
    with Stage() as stage:
        _put_up_twins(stage, screen)
        _run(stage, screen)
        _close(stage, screen)


def _open(screen: Screen) -> None:
    budget = for_people(story.BUDGET, story.CURRENCY)
    screen.heading(f"A training run on three clouds, and one budget of {budget} a month")
    screen.paragraph(
        "AWS, GCP and Azure are simulated on this machine; the monitor and its messages are real, in a month of 2024. "
        "The bar ends at 125%, its marks stand at 80% and 100%; the word behind it is what `monitor status` says."
    )
    screen.pause(_READ)


def _put_up_twins(stage: Stage, screen: Screen) -> None:
    amount = for_people(story.AWS_BUDGET, story.CURRENCY)
    screen.say()
    screen.paragraph(
        f"What AWS bills has a budget of its own, {amount}, with native = true: twins in the AWS account, which page "
        "when the monitor is dead."
    )
    screen.heading("$ monitor alarms apply")
    stage.start()
    screen.say(stage.apply_text())
    screen.say()
    screen.pause(_READ)


def _run(stage: Stage, screen: Screen) -> None:
    before: object = None
    watched = True
    for moment in story.moments():
        for note in moment.notes:
            screen.note(note)
            screen.pause(_NEWS)
        if moment.watched and not watched:
            stage.start()
        elif watched and not moment.watched:
            screen.command(f"kill -9 {stage.kill()}   # the monitor")
        watched = moment.watched
        outcome = stage.play(moment)
        (budget,) = (one for one in outcome.status["budgets"] if one["name"] == "training")
        remark = _not_fresh(outcome.status) if watched else "no monitor"
        news = bool(moment.notes or outcome.arrived) or before not in (None, (budget["state"], remark))
        before = (budget["state"], remark)
        if not news and not moment.closes_day:
            continue
        screen.moment(moment.turn_at, budget, state=outcome.status["state"], source=remark)
        screen.pause(_NEWS if news else _CALM)
        _tell(outcome, screen)


def _not_fresh(status: dict[str, Any]) -> str:
    rows = [f"{row['name']} {row['freshness']}" for row in status["sources"] if row["freshness"] != "FRESH"]
    return " ".join(rows)


def _tell(outcome: Outcome, screen: Screen) -> None:
    """Each alarm that changed, with the messages that it sent; then those that merely repeat, or are not ours."""
    arrived = sorted(outcome.arrived, key=lambda message: message.id)
    cards = {identity: list(messages) for identity, messages in groupby(arrived, key=lambda message: message.id)}
    for change in outcome.done.changes:
        screen.transition(change)
        for identity in [identity for identity in cards if identity.startswith(change.messages)]:
            screen.card(cards.pop(identity))
            screen.pause(_READ)
    for name, old, new in outcome.rung:
        if new == "ALARM":
            screen.rung(name, old, new)
    for messages in cards.values():
        screen.card(messages)
        screen.pause(_READ)


def _close(stage: Stage, screen: Screen) -> None:
    screen.heading("\n".join(story.morals()))
    screen.pause(_NEWS)
    screen.heading(f"$ monitor spend --by source --since {story.MONTH.start:%F} --until {story.MONTH.end:%F}")
    screen.say(stage.spend_text(story.MONTH))
    screen.pause(_READ)
    screen.heading("$ monitor status")
    screen.say(stage.status_text(colour=screen.colour))
    screen.pause(_NEWS)
    screen.heading("What next")
    screen.say("  README.md, Point it at an account         install it; five minutes")
    screen.say("  monitor demo --write-config config.toml   a config to make your own")
    screen.say("  docs/install.md                           run it as a service")


@contextmanager
def _own_environment() -> Iterator[None]:
    """Take out what is meant for real clouds, and put everything back in the end."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_FOREIGN) or name in _FOREIGN_NAMES or name.lower().endswith("_proxy"):
            del os.environ[name]
    # moto's import reads these files; the account says so too, but only once it is there.
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _ending_well() -> Iterator[None]:
    """Let a closed terminal or `kill` end the demo as Ctrl-C does, so that nothing stays behind."""
    stopped: list[int] = []

    def end(number: int, _: object) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stopped:  # on the way out another error may have come of it
            raise KeyboardInterrupt

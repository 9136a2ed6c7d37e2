"""One cause, one message: a network that is down, many sources that grow stale together; and 39 of 40 that hang."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alarms.model import Kind
from monitor.app import App
from monitor.clock import FixedClock
from monitor.simulation.slack import SlackServer
from monitor.sources import aws_cloudwatch
from monitor.store.database import open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.fault_proxy import PASS, TCP, Authority
from tests.faults.test_sources import HOUR, MINUTE, START, World, world_of

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

DOWN, UP = "The sources cannot be reached", "network is no longer unreachable"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def world(tmp_path: Path, authority: Authority) -> Iterator[World]:
    with world_of(tmp_path, authority, ["aws", "second", "third", "fourth"]) as made:
        made.publish("100", START)
        made.turn(MINUTE)
        yield made


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def go_on(world: World, turns: int, after: timedelta) -> list[tuple[Kind, str]]:
    heard = []
    for _ in range(turns):
        world.turn(after)
        heard += world.heard()
    return heard


@pytest.mark.slow
def test_no_dns_for_any_source_is_one_message_however_long(
    world: World, no_names: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in world.proxies.values():
        proxy.always = PASS  # ends the connections that are open
    assert go_on(world, 1, HOUR) == [], "one poll may be a cable that is plugged in"
    assert go_on(world, 1, HOUR) == [(Kind.FIRING, DOWN)]
    assert go_on(world, 3, 8 * HOUR) == [(Kind.REPEAT, DOWN)]
    assert go_on(world, 2, 8 * HOUR) == [], "that all of them are stale by now follows from it"
    assert [source["error"][:24] for source in world.facts["sources"]] == ["AWS could not be reached"] * 4
    monkeypatch.undo()
    world.publish("100")
    assert go_on(world, 1, HOUR) == [(Kind.RESOLVED, UP)]


def test_one_source_without_a_way_is_no_network_that_is_down(world: World) -> None:
    world.proxies["third"].always = TCP["refused"]
    assert go_on(world, 3, HOUR) == []
    assert world.facts["sources"][2]["unreachable"] == 3


@pytest.mark.slow
def test_many_that_grow_stale_together_are_one_message_and_one_that_follows_alone_another(world: World) -> None:
    for name in ("aws", "second", "third"):
        world.proxies[name].always = TCP["refused"]
    heard = []
    for _ in range(27):
        world.publish("100")
        heard += go_on(world, 1, HOUR)
    assert heard == [(Kind.FIRING, "3 sources are stale")]
    world.proxies["fourth"].always = TCP["half closed"]
    assert go_on(world, 27, HOUR) == [(Kind.REPEAT, "3 sources are stale"), (Kind.FIRING, "Source fourth is stale")]
    for proxy in world.proxies.values():
        proxy.always = PASS
    world.publish("100")
    assert set(go_on(world, 1, HOUR)) == {
        (Kind.RESOLVED, "a group of sources is no longer stale"),
        (Kind.RESOLVED, "source fourth is no longer stale"),
    }


def test_after_a_long_stop_nothing_is_said_of_sources_that_are_about_to_answer(world: World) -> None:
    world.publish("100", START + 80 * HOUR)
    assert go_on(world, 1, 80 * HOUR) == []


def accepted_after(app: App, clock: FixedClock, slack: SlackServer) -> tuple[float, Callable[[], None]]:
    """Seconds from the start of a turn to the first message that Slack has taken; and how to wait for its end."""
    before = len(slack.messages)
    turn = threading.Thread(target=app.turn, args=(clock.now(),))
    began = time.monotonic()
    turn.start()
    wait_until(lambda: len(slack.messages) > before)
    return time.monotonic() - began, turn.join


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at
        threading.Event().wait(0.005)


@pytest.mark.slow
def test_39_of_40_accounts_that_hang_do_not_delay_the_40th(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"account-{number}" for number in range(40)]
    budgets = [f'name = "b{number}"\nscope = {{ source = "{name}" }}' for number, name in enumerate(names)]
    with SlackServer() as slack, world_of(tmp_path, authority, names, budgets=budgets) as world:
        monkeypatch.setattr(aws_cloudwatch, "DEADLINE_S", 60.0)
        monkeypatch.setenv("NOBODY", slack.url)
        clock = FixedClock(START)
        world.store.close()
        with open_store(tmp_path / "state") as store:
            app = App(world.config, store, clock)
            world.store = store
            world.publish("100", START - HOUR)
            app.turn(clock.now())
            app.start()
            figures = []
            for hung in (0, 39):
                for name in names[:hung]:
                    world.proxies[name].always = TCP["accepted and hung"]
                clock.instant += HOUR
                world.publish("810" if not hung else "1100", clock.instant)
                seconds, wait = accepted_after(app, clock, slack)
                figures.append(seconds)
                if hung:
                    assert world.spend("b39") == "1100"
                    assert "b39" in slack.messages[-1]["text"]
                    app.stop(timedelta(seconds=1))
                wait()
                if not hung:
                    wait_until(lambda: not any(one.undelivered for one in StoredOutbox(store).receivers()))
    print(f"40 accounts, none hung: first message after {figures[0]:.2f} s; 39 hung: after {figures[1]:.2f} s")
    assert figures[1] < 5

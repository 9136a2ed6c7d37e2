"""docs/permissions/gcp-writer.md allows what keeping twins does, no less and no more: recorded from what was needed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from unittest import mock

import pytest

from alarms.native.gcp import GcpNative
from alarms.reconcile import carry_out, compare
from monitor.simulation.gcp import GoogleCloud
from monitor.simulation.gcp_budgets import ACCOUNT, BudgetService
from monitor.simulation.gcp_topics import Topics
from tests.alarms.test_native_gcp import WANTED
from tests.contract.clouds import GCP_CHANNELS, GCP_TOPIC, PREFIX, GcpSettings

PAGE = (Path(__file__).parents[1] / "docs/permissions/gcp-writer.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([a-zA-Z.]+)` \|.*\| (.*) \|$", PAGE, re.MULTILINE)


class Needed:
    """What was needed since it was last asked, of a cloud and its topic."""

    def __init__(self, cloud: GoogleCloud, topics: Topics) -> None:
        self.asked = (cloud.asked, topics.asked)

    def taken(self) -> set[str]:
        taken = set[str]().union(*self.asked)
        for one in self.asked:
            one.clear()
        return taken


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GcpNative, Needed]]:
    with GoogleCloud() as cloud, Topics(GCP_TOPIC) as topics:
        BudgetService(cloud)
        environment = cloud.environment(tmp_path_factory.mktemp("gcp")) | topics.environment
        with mock.patch.dict(os.environ, environment):
            told = {"native_topic": GCP_TOPIC, "native_channels": GCP_CHANNELS}
            described = GcpSettings.model_validate({"native_endpoint": cloud.url, **told})
            yield GcpNative(described, PREFIX), Needed(cloud, topics)


def permissions(command: str) -> set[str]:
    return {name for name, text in ROWS if f"`{command}`" in text}


def test_each_command_needs_what_the_page_says(world: tuple[GcpNative, Needed]) -> None:
    native, needed = world
    kept, looked = set[str](), set[str]()
    for wanted in (WANTED, replace(WANTED, amount=Decimal(2000)), None):
        changes = compare(native.design(wanted, ACCOUNT).twins if wanted else (), native.owned())
        looked |= needed.taken()
        assert [one.error for one in carry_out(native, changes)] == [None]
        kept |= needed.taken()
    assert looked == permissions("plan")
    assert looked | kept == permissions("apply")
    carry_out(native, compare(native.design(WANTED, ACCOUNT).twins, native.owned()))
    twins = native.owned().twins
    needed.taken()
    assert all(step.ok is not False for step in native.drill(twins))
    assert needed.taken() | looked == permissions("drill")


def test_the_commands_of_the_page_grant_these_and_no_others() -> None:
    granted = {name for line in re.findall(r"--permissions=(\S+)", PAGE) for name in line.split(",")}
    # By a role of Google's own, which is named beside it.
    assert granted == {name for name, _ in ROWS} - {"resourcemanager.projects.get"}
    assert "`roles/browser`" in PAGE

"""What every billing source must be, found by discovery: a new module in monitor/sources is held to it by itself."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from alarms.settings import StrictModel
from monitor import registry
from monitor.ports import BillingSource, SourceDefaults

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
# What a source needs beside its name before it can be made; nothing is connected to.
NEEDED: dict[str, dict[str, Any]] = {
    "aws_cloudwatch": {},
    "aws_cost_explorer": {},
    "azure_cost": {"scope": "/subscriptions/00000000-0000-0000-0000-000000000000"},
    "gcp_budget_messages": {
        "subscription": "projects/proj/subscriptions/budget",
        "billing_account": "0123AB-4567CD-89EF01",
    },
    "gcp_billing_export": {"table": "proj.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"},
}

sources = pytest.mark.parametrize("name", registry.names())


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"monitor.sources.{name}")


def source_of(name: str) -> BillingSource:
    assert name in NEEDED, f"tests/contract/test_sources.py: NEEDED lacks the settings that {name} cannot do without"
    module = module_of(name)
    source: BillingSource = module.create(
        module.Settings.model_validate({"name": "bill", "type": name, **NEEDED[name]})
    )
    return source


def test_there_are_sources() -> None:
    assert registry.names()


@sources
def test_module_says_what_it_is_and_has_settings_and_create(name: str) -> None:
    module = module_of(name)
    assert module.__doc__, f"monitor/sources/{name}.py lacks a docstring that says what it reads"
    settings = getattr(module, "Settings", None)
    assert inspect.isclass(settings), f"monitor/sources/{name}.py lacks a class Settings"
    assert issubclass(settings, StrictModel), f"monitor/sources/{name}.py: Settings must be a StrictModel"
    create = getattr(module, "create", None)
    assert inspect.isfunction(create), f"monitor/sources/{name}.py lacks a function create(settings)"
    assert list(inspect.signature(create).parameters) == ["settings"], f"monitor/sources/{name}.py: create(settings)"


@sources
def test_settings_have_what_all_sources_have(name: str) -> None:
    settings = module_of(name).Settings
    fields, constants = settings.model_fields, settings.__class_vars__
    missing = SourceDefaults.__annotations__.keys() - fields.keys() - constants
    assert isinstance(getattr(settings, "bill", None), property), f"monitor/sources/{name}.py: Settings lacks bill"
    assert not missing, f"monitor/sources/{name}.py: Settings lacks {', '.join(sorted(missing))}"
    assert settings.published_every > timedelta(0), f"monitor/sources/{name}.py: published_every is how often"
    assert fields["type"].default == name, f"monitor/sources/{name}.py: type must default to {name!r}"
    for key in ("every", "late_after", "stale_after"):
        assert isinstance(fields[key].default, timedelta), f"monitor/sources/{name}.py: {key} needs a default"
    assert fields["late_after"].default <= fields["stale_after"].default


@sources
def test_settings_say_whose_bill_it_is_whatever_the_source_is_called(name: str) -> None:
    first, other = (
        module_of(name).Settings.model_validate({"name": called, "type": name, **NEEDED[name]})
        for called in ("bill", "again")
    )
    assert first.bill, f"monitor/sources/{name}.py: Settings lacks the property bill: who pays"
    assert first.bill == other.bill, f"monitor/sources/{name}.py: bill must not depend on the name of the source"


@sources
def test_settings_refuse_what_they_do_not_know_and_show_no_value(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        module_of(name).Settings.model_validate({"name": "bill", "type": name, **NEEDED[name], "xyz": "canary"})
    assert "canary" not in str(caught.value)


@sources
def test_source_has_the_methods_of_the_port(name: str) -> None:
    source = source_of(name)
    assert source.name == "bill"
    for method in ("windows", "fetch", "probe"):
        wanted = inspect.signature(getattr(BillingSource, method)).parameters
        found = inspect.signature(getattr(type(source), method, lambda: None)).parameters
        assert list(found) == list(wanted), f"monitor/sources/{name}.py: {method}({', '.join(wanted)}) is missing"


@sources
def test_windows_are_newest_first_and_reach_now(name: str) -> None:
    windows = source_of(name).windows(NOW, {}, None)
    assert windows[0].period.start <= NOW < windows[0].period.end + timedelta(seconds=1)
    starts = [window.period.start for window in windows]
    assert starts == sorted(starts, reverse=True)
    assert all(window.period.end <= windows[0].period.start for window in windows[1:])
    assert all(window.period.start.tzinfo is UTC for window in windows)
    again = source_of(name).windows(NOW, {}, windows[-1].period.start)
    assert len(again) == 1, "what is filled is not read again"


@sources
def test_module_is_imported_without_any_sdk(name: str) -> None:
    program = f"""
import sys
import monitor.sources.{name}
print(sorted({{"boto3", "botocore", "google", "azure"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n", f"monitor/sources/{name}.py must import its SDK inside functions"

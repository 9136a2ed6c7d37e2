"""What a good config becomes; where config and state are looked for."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Limit, Severity, Threshold
from monitor.config import Config, find_config, load, state_dir
from monitor.errors import ConfigError
from monitor.model import Scope
from monitor.period import PeriodKind

ROOT = Path(__file__).parents[2]

SMALLEST = """
[[sources]]
name = "aws"
type = "aws_cloudwatch"

[[budgets]]
name = "all"
amount = "100"
currency = "USD"
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def loaded(directory: Path, text: str) -> Config:
    return load(written(directory, text))


def test_the_shipped_config_is_good_and_needs_no_secret(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name not in ("PATH", "HOME"):
            monkeypatch.delenv(name)
    config = loaded(tmp_path, (ROOT / "config.toml").read_text(encoding="utf-8"))
    assert [source.name for source in config.sources] == ["aws"]
    assert [receiver.type for receiver in config.receivers] == ["slack", "email", "sns"]
    assert [budget.name for budget in config.budgets] == ["everything", "training", "deepseek"]
    assert config.warnings == ()


def test_what_is_left_out_has_its_default(tmp_path):
    config = loaded(tmp_path, SMALLEST)
    assert config.monitor.state_dir == tmp_path / "state"
    assert config.monitor.poll == timedelta(minutes=5)
    assert config.monitor.timezone == "UTC"
    assert config.monitor.receivers == ()
    assert config.monitor.heartbeat_url is None
    (budget,) = config.budgets
    assert budget.period is PeriodKind.MONTH
    assert budget.scope == Scope()
    assert budget.each is None
    assert budget.repeat == {Severity.CRITICAL: timedelta(hours=4), Severity.WARNING: timedelta(hours=24)}
    assert budget.thresholds == (
        Threshold("actual", Limit("80%", percent=Decimal(80)), Severity.WARNING),
        Threshold("actual", Limit("100%", percent=Decimal(100)), Severity.CRITICAL),
    )


def test_receivers_default_to_all_of_them(tmp_path):
    text = SMALLEST + "".join(
        f'[[receivers]]\nname = "{name}"\ntype = "slack"\nwebhook_url = "env:{name}"\n' for name in ("one", "two")
    )
    config = loaded(tmp_path, text)
    assert config.monitor.receivers == ("one", "two")
    assert config.budgets[0].receivers == ("one", "two")


@pytest.mark.parametrize(
    ("written_as", "exact"),
    [
        ('"1000"', "1000"),
        ("1000", "1000"),
        ("0.1", "0.1"),
        ('"0.30"', "0.30"),
        ("1_000.5", "1000.5"),
        ("0.100000000000000001", "0.100000000000000001"),
        ('"999999999999999.999999999999999999"', "999999999999999.999999999999999999"),
    ],
)
def test_an_amount_stays_exact(tmp_path, written_as, exact):
    config = loaded(tmp_path, SMALLEST.replace('"100"', written_as))
    assert str(config.budgets[0].amount) == exact


def test_a_scope_takes_one_name_or_several(tmp_path):
    text = SMALLEST.replace('type = "aws_cloudwatch"', 'type = "aws_cloudwatch"\nby = ["service", "account"]')
    config = loaded(tmp_path, text + 'scope = { source = "aws", service = "AmazonEC2", account = ["1", "2"] }\n')
    assert config.budgets[0].scope == Scope(source=("aws",), account=("1", "2"), service=("AmazonEC2",))


@pytest.mark.parametrize(
    ("repeat", "critical", "warning"),
    [
        ('"never"', None, None),
        ('{ critical = "1h" }', timedelta(hours=1), timedelta(hours=24)),
        ('{ warning = "never" }', timedelta(hours=4), None),
    ],
)
def test_repeat(tmp_path, repeat, critical, warning):
    config = loaded(tmp_path, SMALLEST + f"repeat = {repeat}\n")
    assert config.budgets[0].repeat == {Severity.CRITICAL: critical, Severity.WARNING: warning}


def test_a_limit_may_be_an_amount_and_a_threshold_has_its_own_receivers(tmp_path):
    text = SMALLEST + 'thresholds = [{ at = "80.50 USD", severity = "warning", receivers = [] }]\n'
    (threshold,) = loaded(tmp_path, text).budgets[0].thresholds
    assert threshold == Threshold("actual", Limit("80.50 USD", amount=Decimal("80.50")), Severity.WARNING, ())


def test_keys_that_have_only_one_value_yet_may_be_written(tmp_path):
    config = loaded(tmp_path, SMALLEST + 'basis = "gross"\ncost = "billed"\ncalendar = "utc"\n')
    assert config.budgets[0].name == "all"


@pytest.mark.parametrize(
    ("option", "environ", "here", "found"),
    [
        ("a.toml", {"MONITOR_CONFIG": "/b.toml"}, True, "{cwd}/a.toml"),
        (None, {"MONITOR_CONFIG": "/b.toml"}, True, "/b.toml"),
        (None, {"MONITOR_CONFIG": ""}, True, "{cwd}/config.toml"),
        (None, {}, True, "{cwd}/config.toml"),
        (None, {}, False, "/etc/cloud-budget-monitor/config.toml"),
    ],
)
def test_where_the_config_is_looked_for(tmp_path, option, environ, here, found):
    if here:
        written(tmp_path, "")
    assert str(find_config(option, environ, tmp_path)) == found.format(cwd=tmp_path)


def test_where_the_state_is(tmp_path):
    path = written(tmp_path, '[monitor]\nstate_dir = "kept"\n')
    assert state_dir(path, "/option", {"STATE_DIRECTORY": "/systemd"}) == Path("/option")
    assert state_dir(path, None, {"STATE_DIRECTORY": "/systemd:/second"}) == Path("/systemd")
    assert state_dir(path, None, {}) == tmp_path / "kept"
    assert state_dir(written(tmp_path, ""), None, {}) == tmp_path / "state"
    # The config is not even opened when it does not decide.
    assert state_dir(tmp_path / "absent.toml", "/option", {}) == Path("/option")


@pytest.mark.parametrize("text", ["[monitor]\nstate_dir = 1\n", "monitor = 1\n", "[monitor\n"])
def test_a_state_directory_that_cannot_be_known(tmp_path, text):
    with pytest.raises(ConfigError):
        state_dir(written(tmp_path, text), None, {})


def test_finding_the_state_imports_nothing_but_the_standard_library():
    code = (
        "import sys, monitor.config_file; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} "
        "- set(sys.stdlib_module_names) - {'__main__', 'monitor', 'alarms'}), 'monitor.config' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["[]", "False"]

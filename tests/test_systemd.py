"""The unit files: systemd accepts them, they give away little, and they name what the program and the docs name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.config_file import SYSTEM_CONFIG
from monitor.errors import ExitCode
from monitor.status.place import SYSTEM_STATUS

ROOT = Path(__file__).parents[1]
UNIT = ROOT / "systemd/cloud-budget-monitor.service"
FAILED = ROOT / "systemd/cloud-budget-monitor-failed.service"
CREDENTIALS = ROOT / "systemd/credentials.conf.example"
PROGRAM = "/opt/cloud-budget-monitor/bin/monitor"
INSTALL = (ROOT / "docs/install.md").read_text(encoding="utf-8")

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian package systemd)"
)


@needs_analyze
def test_exposure_is_at_most_1_1() -> None:
    done = analyze("security", "--offline=true", "--threshold=11", str(UNIT))
    assert done.returncode == 0, done.stdout.splitlines()[-1]


@needs_analyze
@pytest.mark.parametrize("unit", [UNIT, FAILED], ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_to_say(unit: Path, tmp_path: Path) -> None:
    # It wants the programs to be there, and the other unit.
    for each in (UNIT, FAILED):
        text = each.read_text(encoding="utf-8")
        (tmp_path / each.name).write_text(re.sub(r"/opt/cloud-budget-monitor/bin/\w+", sys.executable, text))
    done = analyze("verify", "--man=no", str(tmp_path / unit.name))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_analyze
def test_the_credentials_example_is_a_valid_drop_in(tmp_path: Path) -> None:
    unit = tmp_path / "x.service"
    unit.write_text(CREDENTIALS.read_text(encoding="utf-8") + "\nExecStart=/bin/true\n")
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_starts_the_program_with_the_config_that_the_program_looks_for() -> None:
    assert service(UNIT)["ExecStart"] == [f"{PROGRAM} run --config {SYSTEM_CONFIG}"]


def test_status_looks_where_the_unit_lets_the_daemon_write() -> None:
    assert f"/run/{service(UNIT)['RuntimeDirectory'][0]}/status.json" == SYSTEM_STATUS
    assert service(UNIT)["RuntimeDirectoryMode"] == ["0755"]
    # Kept over a stop it would be moved to where only root may look (systemd.exec(5), DynamicUser=).
    assert "RuntimeDirectoryPreserve" not in service(UNIT)


def test_no_restart_only_where_none_can_help() -> None:
    assert service(UNIT)["RestartPreventExitStatus"] == [f"{ExitCode.USAGE:d} {ExitCode.CONFIG:d}"]
    assert service(UNIT)["Restart"] == ["always"]


def test_the_failure_unit_is_the_one_that_is_called() -> None:
    assert f"OnFailure={FAILED.name}" in UNIT.read_text(encoding="utf-8").splitlines()


def test_the_heartbeat_has_one_name() -> None:
    config = (ROOT / "config.toml").read_text(encoding="utf-8")
    (name,) = set(re.findall(r'heartbeat_url = "env:(\w+)"', config + INSTALL))
    assert f"environ.get('{name}')" in FAILED.read_text(encoding="utf-8")


def test_no_unit_needs_a_credential_of_its_own() -> None:
    assert "LoadCredential" not in service(UNIT)
    assert service(UNIT)["EnvironmentFile"] == service(FAILED)["EnvironmentFile"]
    assert service(UNIT)["EnvironmentFile"][0].startswith("-")


def test_every_path_of_the_units_is_explained_in_the_install_page() -> None:
    text = (
        UNIT.read_text(encoding="utf-8") + FAILED.read_text(encoding="utf-8") + CREDENTIALS.read_text(encoding="utf-8")
    )
    paths = set(re.findall(r"(?<![\w/.])/(?:opt|etc)/[\w./-]*\w", text))
    assert {PROGRAM, str(SYSTEM_CONFIG), "/etc/cloud-budget-monitor/environment"} <= paths
    explained = {path for path in paths if path in INSTALL or Path(path).parent.as_posix() in INSTALL}
    assert paths == explained
    directories = {f"/var/lib/{service(UNIT)['StateDirectory'][0]}", f"/run/{service(UNIT)['RuntimeDirectory'][0]}"}
    assert {directory for directory in directories if directory not in INSTALL} == set()


def test_whatever_is_handed_over_can_be_tried_by_hand() -> None:
    """The install page exports the same variables, with the files where the example takes them from."""
    keys = service(CREDENTIALS)
    handed = dict(line.split(":", 1) for line in keys["LoadCredential"])
    named = dict(line.split("=", 1) for line in keys["Environment"])
    assert set(named) >= {"AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"}
    exported = dict(re.findall(r"export (\w+)=\$CREDENTIALS_DIRECTORY/(\w+)", INSTALL))
    assert exported == {variable: path.removeprefix("%d/") for variable, path in named.items()}
    (directory,) = re.findall(r"export CREDENTIALS_DIRECTORY=(\S+)", INSTALL)
    for name in exported.values():
        assert handed[name] == f"{directory}/{name}"


def service(path: Path) -> dict[str, list[str]]:
    """The [Service] section: a key may come more than once."""
    keys: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif section == "Service" and (pair := re.fullmatch(r"(\w+)=(.*)", line)):
            keys.setdefault(pair[1], []).append(pair[2])
    return keys


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)

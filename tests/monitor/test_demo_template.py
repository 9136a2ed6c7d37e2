"""`monitor demo --write-config`, with the real command."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def monitor(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "monitor", *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_leaves_the_shipped_config_which_is_without_problems(tmp_path: Path) -> None:
    done = monitor(tmp_path, "demo", "--write-config", "my config.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "monitor check-config --config 'my config.toml'" in done.stdout
    written = tmp_path / "my config.toml"
    assert written.read_bytes() == (ROOT / "config.toml").read_bytes()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    checked = monitor(tmp_path, "check-config", "--config", "my config.toml")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no problems" in checked.stdout


def test_it_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("mine")
    done = monitor(tmp_path, "demo", "--write-config", "config.toml")
    assert (done.returncode, done.stdout) == (65, "")
    assert done.stderr == "monitor: config.toml is there already and was left as it is; name another file\n"
    assert (tmp_path / "config.toml").read_text() == "mine"


@pytest.mark.parametrize("link", [True, False])
def test_it_writes_neither_through_a_link_nor_into_nothing(tmp_path: Path, *, link: bool) -> None:
    if link:
        (tmp_path / "config.toml").symlink_to(tmp_path / "elsewhere")
    done = monitor(tmp_path, "demo", "--write-config", "config.toml" if link else "absent/config.toml")
    assert done.returncode == (65 if link else 64)
    assert done.stderr.count("\n") == 1
    assert link or done.stderr.endswith("make the directory first: mkdir -p absent\n")
    assert not (tmp_path / "elsewhere").exists()

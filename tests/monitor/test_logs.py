"""What the program writes to stderr: one line per event, and nothing past the filter."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging, sys, threading
from pathlib import Path
from monitor import logs
from monitor.config import load

logs.set_up(logging.INFO, load(Path(sys.argv[1])))
log = logging.getLogger("alarms.x")
log.warning("A source failed. error=%s", "bad\\nERROR forged\\x1b[2J\\u202e end")
log.info("sent to %s with canary-in-the-query and canary-of-bearer", "https://example.com/x?y=canary-in-the-query")

class Bad:
    def __del__(self):
        raise RuntimeError("canary-in-the-query")

Bad()

def fail():
    raise RuntimeError("a defect with canary-of-bearer")

thread = threading.Thread(target=fail, name="send hook")
thread.start()
thread.join()
"""
CONFIG = """
[[sources]]
name = "aws"
type = "aws_cloudwatch"
[[receivers]]
name = "hook"
type = "webhook"
url = "https://example.com/x?y=canary-in-the-query"
headers = { Authorization = "Bearer canary-of-bearer" }
[[budgets]]
name = "b"
amount = 1
currency = "USD"
"""


def log_of(directory: Path, **environment: str) -> list[str]:
    config = directory / "config.toml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(config)],
        env={"PYTHONPATH": str(ROOT), "JOURNAL_STREAM": "1:2", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "canary" not in done.stdout + done.stderr
    return done.stderr.splitlines()


def test_one_line_for_each_event(tmp_path: Path) -> None:
    lines = log_of(tmp_path)
    assert lines[:2] == [
        "WARNING A source failed. error=bad; ERROR forged [2J end",
        "INFO sent to *** with *** and ***",
    ]
    assert [line for line in lines if line.startswith(("ERROR", "CRITICAL"))] == [
        "CRITICAL Tidying up has failed from a defect.",
        "CRITICAL A thread has died from a defect. thread=send hook",
    ]


def test_times_are_utc_and_say_so(tmp_path: Path) -> None:
    """Beside systemd, whose journal has its own: `date -d` reads it, in whatever zone the machine is."""
    began = datetime.now(UTC)
    line = log_of(tmp_path, JOURNAL_STREAM="", TZ="Asia/Tokyo")[0]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING A source failed", line)
    assert abs(datetime.fromisoformat(line.split()[0]) - began) < timedelta(minutes=2)


def test_a_traceback_is_without_the_secret(tmp_path: Path) -> None:
    lines = log_of(tmp_path, MONITOR_DEBUG="1")
    assert "RuntimeError: ***" in lines
    assert "RuntimeError: a defect with ***" in lines


NO_ROOM_ONCE = """
import errno, io, logging, sys
from pathlib import Path
from monitor import logs
from monitor.config import load

class Full(io.StringIO):
    def write(self, text):
        sys.stderr = sys.__stderr__  # somebody deletes a file, and there is room again
        raise OSError(errno.ENOSPC, "No space left on device")

sys.stderr = Full()
logs.set_up(logging.INFO, load(Path(sys.argv[1])))
logging.info("lost %s", "words")
print("still here")
"""


def test_a_line_that_finds_no_room_is_lost_and_leaves_no_traceback(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    config.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM_ONCE, str(config)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("still here\n", "")

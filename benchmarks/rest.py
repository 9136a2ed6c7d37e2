"""`rest`: the memory of a daemon between its turns, against Python with the same modules and AWS clients alone."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Comparison, Report, Worker, environment, interleaved

TARGET = 1.3
_LIMIT_S = 60.0
_TURNS = 5
_CONFIG = """\
[monitor]
state_dir = "state"
poll = "1s"

[[sources]]
name = "aws"
type = "aws_cloudwatch"
every = "1s"
by = ["service"]
backfill = "1d"

[[receivers]]
name = "topic"
type = "sns"
topic_arn = "{topic}"

[[budgets]]
name = "training"
amount = "10"
currency = "USD"
period = "month"
receivers = ["topic"]
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }},
  {{ on = "actual", at = "100%", severity = "critical" }},
]
"""


def run(*, quick: bool) -> Report:
    """A daemon that has done a few turns and sent a message, and is waiting for the next turn."""
    from monitor.simulation.aws import AwsAccount

    rounds = 1 if quick else 5
    with tempfile.TemporaryDirectory(prefix="monitor-bench-") as name, AwsAccount() as aws:
        directory = Path(name)
        now = datetime.now(UTC)
        aws.publish_charge(now - timedelta(minutes=5), Decimal(20), service="AmazonEC2")
        aws.publish_charge(now - timedelta(minutes=5), Decimal(20))
        topic = aws.create_topic("budgets")
        config = directory / "config.toml"
        config.write_text(_CONFIG.format(topic=topic), encoding="utf-8")
        config.chmod(0o600)
        clean = environment(**aws.environment)
        samples = interleaved(
            {"daemon": lambda: _daemon(directory, clean), "reference": lambda: _reference(directory, clean)}, rounds
        )
        told = len(aws.delivered(topic))
    if not told:
        raise RuntimeError("the daemon sent no message, so it did not make its SNS client")
    ours, theirs = samples["daemon"], samples["reference"]
    compared = Comparison("daemon at rest", "same modules and clients", "MiB RSS", ours, theirs, TARGET)
    return Report([compared], [f"rest: AWS only; after {_TURNS} turns a second apart and a message to an SNS topic."])


def _daemon(directory: Path, clean: Mapping[str, str]) -> float:
    """Start one on an empty store, wait until it has told and rests, and take its memory."""
    state = Path(tempfile.mkdtemp(dir=directory))
    command = [sys.executable, "-m", __name__, "daemon", str(directory / "modules.json")]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--config", str(directory / "config.toml"), "--state-dir", str(state), "run"],
            env=dict(clean),
            cwd=ROOT,
            stderr=log,
        )
        try:
            _wait_for_turns(state / "status.json", process)
            return _rss_mib(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_LIMIT_S)


def _wait_for_turns(path: Path, process: subprocess.Popen[bytes]) -> None:
    seen: set[str] = set()
    give_up_at = time.monotonic() + _LIMIT_S
    while time.monotonic() < give_up_at and process.poll() is None:
        threading.Event().wait(0.05)
        document: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("turn_at") is not None:
            seen.add(document["turn_at"])
            if len(seen) >= _TURNS and document["receivers"][0]["last_delivery"] is not None:
                return
    raise RuntimeError(f"the daemon did not do {_TURNS} turns within {_LIMIT_S:.0f} s")


def _reference(directory: Path, clean: Mapping[str, str]) -> float:
    with Worker(__name__, "reference", str(directory / "modules.json"), environment=clean) as worker:
        return _rss_mib(worker.said())


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not say how much memory a process has")


def _be_daemon(modules: Path) -> int:
    """`monitor` with the arguments of this process; it leaves behind what it had imported."""
    from monitor.cli import main

    atexit.register(lambda: modules.write_text(json.dumps(sorted(sys.modules)), encoding="utf-8"))
    return main()


def _be_reference(modules: Path) -> int:
    for name in json.loads(modules.read_text(encoding="utf-8")):
        with suppress(ImportError):  # names such as os.path or six.moves, which are no modules of their own
            importlib.import_module(name)
    from alarms.clients.aws import AwsSettings, make_client

    clients = [make_client(service, AwsSettings(), retries=0) for service in ("cloudwatch", "sns")]
    print(os.getpid(), flush=True)
    sys.stdin.read()
    return len(clients) - 2


if __name__ == "__main__":
    role, file = sys.argv[1], Path(sys.argv[2])
    del sys.argv[1:3]
    sys.exit(_be_daemon(file) if role == "daemon" else _be_reference(file))

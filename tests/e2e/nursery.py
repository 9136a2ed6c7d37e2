"""Starts the real command again and again, paying for its imports once, and kills it on demand.

Reads a JSON line for each child and answers with two. The order:
    {"arguments": [...], "kill_after_s": 0.2 or null, "kill": {"at": n, "after": bool, "kinds": [...]} or null}
`kill_after_s` kills it from outside after so long, `kill` from inside at its n-th call (tests/fakes/killer.c, preloaded
into this process); at = 0 counts the calls only. The answers: {"pid": n} as soon as it runs, and when it is over
{"killed": bool, "code": n, "said": "what the killer reported"}.
The child is a process of its own, forked from one that has only imported; SIGKILL ends it like any other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

import boto3  # noqa: F401 - paid for once, before the forks
import botocore.client  # noqa: F401 - see above

import monitor.app
import monitor.commands
import monitor.daemon
import monitor.once  # noqa: F401 - see above
from monitor.arguments import run
from tests.fakes import killer


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _be(order, writer)
        os.close(writer)
        print(json.dumps({"pid": child}), flush=True)
        answer = _reap(child, order.get("kill_after_s"))
        with os.fdopen(reader) as pipe:
            answer["said"] = pipe.read().strip()
        print(json.dumps(answer), flush=True)


def _be(order: dict[str, Any], report: int) -> None:
    """The child: never returns."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    kill = order.get("kill")
    if kill is not None:
        killer.arm(kill["at"], report, after=kill["after"], kinds=tuple(kill["kinds"]))
    code = run(order["arguments"])
    if kill is not None:
        killer.report_counts()
    os._exit(code)


def _reap(child: int, kill_after_s: float | None) -> dict[str, object]:
    timer = None
    if kill_after_s is not None:
        timer = threading.Timer(kill_after_s, os.kill, (child, signal.SIGKILL))
        timer.start()
    _, status = os.waitpid(child, 0)
    if timer is not None:
        timer.cancel()
        timer.join()
    return {"killed": os.WIFSIGNALED(status), "code": os.waitstatus_to_exitcode(status)}


if __name__ == "__main__":
    main()

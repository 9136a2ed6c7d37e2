"""Starts the real command again and again, paying for its imports once, and kills it on demand.

Reads a JSON line {"arguments": [...], "kill_after_s": 0.2 or null} for each child, answers {"killed": ..., "code": n}.
The child is a process of its own, forked from one that has only imported; SIGKILL ends it like any other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import boto3  # noqa: F401 - paid for once, before the forks
import botocore.client  # noqa: F401 - see above

import monitor.app
import monitor.commands
import monitor.once  # noqa: F401 - see above
from monitor.arguments import run


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(run(order["arguments"]))
        print(json.dumps(_reap(child, order["kill_after_s"])), flush=True)


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

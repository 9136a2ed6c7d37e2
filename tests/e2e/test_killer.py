"""The killer counts what the kernel sees: its calls are held against those that strace saw of the same run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from itertools import dropwhile
from pathlib import Path

import pytest

from tests.e2e.conftest import Stage
from tests.e2e.histories import HOUR, START, Kill, nursery, once
from tests.fakes import killer
from tests.fakes.smtp_server import Behaviour, ScriptedMailServer

KIND_OF = {
    "pwrite64": "pwrite",
    "fsync": "fsync",
    "fdatasync": "fdatasync",
    "ftruncate": "truncate",
    "sendto": "send",
    "sendmsg": "send",
    "sendmmsg": "send",
    "recvfrom": "recv",
    "recvmsg": "recv",
    "connect": "connect",
    "mkdir": "create",
    "openat": "create",
    "rename": "rename",
    "unlink": "unlink",
    "write": "write",
    "writev": "write",
    "read": "recv",
}
# By these too something could leave the process or the memory. None of them happens; if one did, it would be counted.
OTHERS = (
    *("pwritev", "pwritev2", "sendfile", "splice", "copy_file_range", "fallocate", "truncate", "creat", "open"),
    *("recvmmsg", "mkdirat", "renameat", "renameat2", "unlinkat", "rmdir", "link", "linkat", "symlink", "symlinkat"),
    *("io_uring_enter", "msync", "sync", "syncfs", "sync_file_range"),
)
ENTRY = re.compile(r"^(\d+)\s+(\w+)\((.*)")


def traced(trace: str, child: int) -> Counter[str]:
    """What strace saw of a child and its threads, until it reported."""
    seen: Counter[str] = Counter()
    nursery_itself = trace.split(None, 1)[0]
    for line in dropwhile(lambda line: not line.startswith(f"{child} "), trace.splitlines()):
        entry = ENTRY.match(line)
        if entry is None or entry[1] == nursery_itself:
            continue
        name, rest = entry[2], entry[3]
        if '"end write=' in rest:
            break
        kind = kind_of(name, rest)
        if kind is not None:
            seen[kind] += 1
    return seen


def kind_of(name: str, rest: str) -> str | None:
    socket = "<socket:" in rest.partition(",")[0]
    if name == "read" and not socket:
        return None
    if name == "openat" and "O_CREAT" not in rest:
        return None
    if name in {"write", "writev"} and socket:
        return "send"
    return KIND_OF.get(name, name)


def test_no_call_escapes_the_killer(stage: Stage, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not here: apt-get install strace")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("strace may not trace here")
    library, trace = killer.build(tmp_path), tmp_path / "trace"
    watch = ",".join([*KIND_OF, *OTHERS])
    under = ["strace", "-f", "-y", "-s", "16", "-o", str(trace), "-e", f"trace={watch}", "-e", "signal=none"]
    with ScriptedMailServer(Behaviour(tls="starttls")) as mail:
        authority = tmp_path / "ca.pem"
        mail.ca.cert_pem.write_to_path(str(authority))
        plain = f'port = {stage.mail.port}\ntls = "none"'
        text = stage.config.read_text().replace(plain, f'port = {mail.port}\nca_file = "{authority}"')
        stage.config.write_text(text)
        stage.aws.publish_charge(START, "1100")
        with nursery(stage, under=[*under, "env", f"LD_PRELOAD={library}"]) as made:
            child = made.start(once(stage, START + HOUR), kill=Kill(0))
            ending = made.ended()
        assert len(mail.mails) == len(stage.slack.messages) == 1
    kernel = traced(trace.read_text(), child)
    print(f"killer: counted {dict(ending.calls)}, strace {dict(kernel)}")
    assert kernel == +ending.calls

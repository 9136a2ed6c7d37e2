"""Builds the library that kills a process at its n-th call, and arms it. See killer.c."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")
# The calls that it counts, each with its bit.
KINDS = tuple(re.findall(r'"(\w+)"', _SOURCE.read_text().partition("killer_names[] = {")[2].partition("}")[0]))


def build(directory: Path) -> Path:
    """Compile it; skips the test where there is no compiler."""
    import pytest

    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here: apt-get install gcc libc6-dev")
    library = directory / "killer.so"
    flags = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    built = subprocess.run(
        [compiler, *flags, "-o", str(library), str(_SOURCE), "-ldl"], capture_output=True, text=True, check=False
    )
    if "No such file or directory" in built.stderr and ".h" in built.stderr:
        pytest.skip("the C library's headers are missing: apt-get install libc6-dev")
    assert built.returncode == 0, built.stderr
    return library


def arm(fatal: int, report: int, *, after: bool = False, kinds: tuple[str, ...] = KINDS) -> None:
    """In a process that was forked from a preloaded one: die at call number `fatal` of these kinds; 0 only counts."""
    bits = sum(1 << KINDS.index(kind) for kind in kinds)
    ctypes.CDLL(None).killer_arm(ctypes.c_long(fatal), int(after), ctypes.c_ulong(bits), report)


def report_counts() -> None:
    """Say how often each kind was called since it was armed."""
    ctypes.CDLL(None).killer_report()

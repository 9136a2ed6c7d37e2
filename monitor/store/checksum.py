"""The checksum that every row of the store carries. Standard library only: `status` verifies what it reads too.

CRC-32, because the enemy is a flipped bit on a disk and not a forger: it catches every error of up to 32 bits in a row
for certain and misses one in four thousand million others, and it is the fastest that Python ships. SQLite's own
`integrity_check` looks at the structure of a file alone and says "ok" to a changed amount.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

# What SQLite's whole numbers hold.
_MOST = (1 << 63) - 1


def checksum(table: str, *columns: str | int | None) -> int:
    """The checksum of one row: its table's name and all its columns but the last, in the order of the table.

    Computed over `ascii()` of the tuple: it keeps 1, "1" and None apart, says where each text ends, and, unlike
    `repr()`, does not depend on what a version of Unicode calls printable.
    """
    return zlib.crc32(ascii((table, *columns)).encode("ascii"))


def digest(checksums: Iterable[int]) -> int:
    """One number for many rows, in whatever order: the sum of the squares of their checksums.

    Not their XOR: CRC-32 is linear, so where two rows change in the same way, or change places, their XOR stays.
    """
    return sum(one * one for one in checksums) & _MOST


def changed_digest(before: int, *, gone: int = 0, new: int = 0) -> int:
    """The digest when one row takes another's place; 0: there is none."""
    return (before - gone * gone + new * new) & _MOST

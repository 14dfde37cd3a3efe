# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Overwrites with zeros what a thin volume holds, without taking blocks from the pool that it never used.

A block that reads as zeros is left alone: it was never written. What has been overwritten is given back to the
pool piece by piece, so that a clone does not grow by the golden blocks it shares.
"""

from __future__ import annotations

import fcntl
import os
import struct

PIECE = 64 << 20
BLOCK = 1 << 20
BLKDISCARD = 0x1277  # _IO(0x12, 119) of linux/fs.h


def wipe(device: str) -> None:
    """Wipe the whole device; raises OSError."""
    fd = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        for start in range(0, size, PIECE):
            length = min(PIECE, size - start)
            if _overwrite(fd, start, length):
                os.fsync(fd)
                fcntl.ioctl(fd, BLKDISCARD, struct.pack("=QQ", start, length))
    finally:
        os.close(fd)


def _overwrite(fd: int, start: int, length: int) -> bool:
    """Put zeros where there is anything else; whether there was."""
    found = False
    for at in range(start, start + length, BLOCK):
        held = os.pread(fd, min(BLOCK, start + length - at), at)
        if held.count(0) != len(held):
            os.pwrite(fd, bytes(len(held)), at)
            found = True
    return found

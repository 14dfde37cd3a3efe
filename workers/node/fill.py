# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""Fills a thick volume with zeros, then with what an image holds: nothing of what its extents held before is left.

The kernel writes the zeros, by the disk's own means where it has any; the volume's discards are not relied upon.
"""

from __future__ import annotations

import fcntl
import os
import struct

PIECE = 64 << 20  # a killed job ends within one of them
BLOCK = 1 << 20
BLKZEROOUT = 0x127F  # _IO(0x12, 127) of linux/fs.h


def fill(device: str, image: str | None) -> None:
    """Fill the whole device; raises OSError. The image's blocks of zeros need not be written."""
    fd = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    try:
        size = os.lseek(fd, 0, os.SEEK_END)
        for start in range(0, size, PIECE):
            fcntl.ioctl(fd, BLKZEROOUT, struct.pack("=QQ", start, min(PIECE, size - start)))
        if image is not None:
            _copy(image, fd)
        os.fsync(fd)
    finally:
        os.close(fd)


def _copy(image: str, fd: int) -> None:
    at = 0
    with open(image, "rb", buffering=0) as source:
        while block := source.read(BLOCK):
            if block.count(0) != len(block):
                os.pwrite(fd, block, at)
            at += len(block)

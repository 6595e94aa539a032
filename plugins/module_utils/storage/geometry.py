# SPDX-License-Identifier: GPL-3.0-or-later
"""What a RAID level gives: capacity, how many disks may die, how many it needs."""

from __future__ import annotations

LEAST = {0: 2, 1: 2, 5: 3, 6: 4, 10: 4}
"""The fewest disks of each level that are taken here. md itself goes lower, without a gain."""

LAYOUTS = {5: 2, 6: 2, 10: 0x102}
"""left-symmetric, and two near copies: mdadm's defaults, as `layout` in sysfs says them."""

LAYOUT_NAMES = {5: "left-symmetric", 6: "left-symmetric", 10: "near 2"}

MDADM_LAYOUTS = {5: "left-symmetric", 6: "left-symmetric", 10: "n2"}


def may_die(level: int, disks: int) -> int:
    """How many disks may die, whichever they are. RAID10 survives more with luck, which is not counted."""
    return {0: 0, 1: disks - 1, 5: 1, 6: 2, 10: 1}[level]


def most(level: int, disks: int) -> int:
    """How many may be gone at best. mdadm knows which, and says so when it starts the array."""
    return disks // 2 if level == 10 else may_die(level, disks) if level in LEAST else 0


def capacity(level: int, disks: int, each: int) -> int:
    """Bytes of an array that takes `each` bytes of every disk."""
    parts = {0: 2 * disks, 1: 2, 5: 2 * (disks - 1), 6: 2 * (disks - 2), 10: disks}[level]
    return each * parts // 2


def usable(size: int) -> int:
    """About what md takes of a disk: mdadm keeps 0.1 % free for a later reshape, 128 MiB at most, and 1 MiB
    for itself (super1.c, validate_geometry1)."""
    return max(0, size - min(size >> 10, 128 << 20) - (1 << 20))

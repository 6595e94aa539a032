# SPDX-License-Identifier: GPL-3.0-or-later
"""md's settings that follow from the machine. docs/storage.md says why."""

from __future__ import annotations

from dataclasses import dataclass

PAGE = 4096
STRIPE_CACHE_LEAST = 256  # the kernel's default
STRIPE_CACHE_MOST = 8192
MEMORY_SHARE = 64  # a cache may take this part of the memory
THREADS_MOST = 8


@dataclass(frozen=True)
class Tuning:
    """`stripe_cache_size` is pages for each disk; `group_thread_cnt` is threads for each NUMA node."""

    stripe_cache_size: int
    group_thread_cnt: int


def tuning(memory: int, cores: int, disks: int) -> Tuning:
    """For a RAID5 or RAID6 array of so many disks, on a host with so many bytes of memory."""
    pages = memory // MEMORY_SHARE // (PAGE * max(1, disks))
    size = STRIPE_CACHE_LEAST
    while size * 2 <= min(pages, STRIPE_CACHE_MOST):
        size *= 2
    # One thread is what there is without the setting; a quarter of the cores leaves three for the engine.
    threads = min(THREADS_MOST, cores // 4)
    return Tuning(size, threads if threads > 1 else 0)

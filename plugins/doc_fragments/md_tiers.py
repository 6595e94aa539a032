# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that all modules of md tiers have."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description: What the host is called in errors. Its arrays' UUIDs follow from it, so it stays the same.
    type: str
    required: true
  tiers:
    description:
      - The storage tiers of the host. Those of another layout than V(md) are left to others.
      - Each has C(name), C(level) (0, 1, 5, 6, 10) and C(disks); and where wanted C(spares), C(chunk_kib)
        (512), and C(uuid) to take over an array that was made elsewhere.
      - C(disks) has C(count) with C(kind) (V(nvme), V(ssd), V(rotational), V(any)), C(min_size_gb),
        C(max_size_gb) and C(model) (a regular expression); or C(ids), names below /dev/disk/by-id; or
        C(slots), names below /dev/disk/by-path. Of the latter two the last ones are the spares.
    type: list
    elements: dict
    required: true
  wipe:
    description: Serials of disks that may lose what is on them. One that is in use is refused all the same.
    type: list
    elements: str
    default: []
"""

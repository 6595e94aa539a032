# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of AMD's driver and ROCm: plain literals, with who says so and when it was read."""

from __future__ import annotations

# amdgpu driver -> releases of ROCm's user space that go with it. Up to 6.3 AMD promises two releases in both
# directions, since 6.4 one year; the table is what comes of it, and it is the table that counts.
USER_SPACES = {
    "rows": (
        ("31.50", ("7.0", "7.1", "7.2", "7.14", "10.0")),
        ("31.40", ("7.0", "7.1", "7.2", "7.14", "10.0")),
        ("30.30", ("6.3", "6.4", "7.0", "7.1", "7.2", "7.14", "10.0")),
        ("30.20", ("6.3", "6.4", "7.0", "7.1", "7.2", "7.14", "10.0")),
        ("30.10", ("6.2", "6.3", "6.4", "7.0", "7.1", "7.2", "7.14", "10.0")),
        ("6.4", ("6.1", "6.2", "6.3", "6.4", "7.0", "7.1", "7.2")),
        ("6.3", ("6.1", "6.2", "6.3", "6.4", "7.0")),
        ("6.2", ("6.0", "6.1", "6.2", "6.3", "6.4", "7.0")),
        ("6.1", ("5.7", "6.0", "6.1", "6.2", "6.3", "6.4")),
        ("6.0", ("5.6", "5.7", "6.0", "6.1", "6.2")),
        ("5.7", ("5.5", "5.6", "5.7", "6.0", "6.1")),
        ("5.6", ("5.4", "5.5", "5.6", "5.7", "6.0")),
        ("5.5", ("5.3", "5.4", "5.5", "5.6", "5.7")),
        ("5.4", ("5.2", "5.3", "5.4", "5.5", "5.6")),
        ("5.3", ("5.1", "5.2", "5.3", "5.4", "5.5")),
    ),
    "source": "instinct.docs.amd.com/projects/amdgpu-docs/en/latest/compatibility/compatibility-matrix.html",
    "checked": "2026-11-25",
}
# With ROCm 7.0 the driver got numbers of its own.
OWN_NUMBERS_SINCE = "7.0"

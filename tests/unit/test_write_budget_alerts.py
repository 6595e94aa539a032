# SPDX-License-Identifier: GPL-3.0-or-later
"""The alarms of the write budget, by Prometheus' own judge of rules."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CASES = Path(__file__).parent.parent / "fixtures/alerts/write_budget.test.yml"


@pytest.mark.skipif(not shutil.which("promtool"), reason="apt-get install prometheus brings promtool")
def test_half_a_key_warns_four_fifths_are_critical_and_a_lost_count_is_noticed() -> None:
    done = subprocess.run(["promtool", "test", "rules", CASES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

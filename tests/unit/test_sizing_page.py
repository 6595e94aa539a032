# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/sizing.md says what the planner computes, or this says where not."""

from __future__ import annotations

from tests import sizing


def test_every_row_of_the_page_is_the_planners() -> None:
    page = (sizing.REPOSITORY / "docs/sizing.md").read_text()
    lines = [*sizing.weights(), *sizing.layouts(), f"> {sizing.refusal()}"]
    assert [line for line in lines if line not in page] == []

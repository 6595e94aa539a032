# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages action: apt's own answer, except where check mode meets packages apt does not know yet."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.modules import apt as apt_module
from ansible.plugins.action import ActionBase
from ansible_collections.stronghold.llm.plugins.action.packages import ActionModule, unknown_yet

UNKNOWN = "No package matching 'nginx' is available"
BROKEN = "'/usr/bin/apt-get -y install nginx' failed: E: Unmet dependencies."


def outcome(
    monkeypatch: pytest.MonkeyPatch, apt: dict[str, Any], check_mode: bool, **args: Any
) -> dict[str, Any]:
    """What the action returns for this answer of apt, and in `asked` what apt was asked."""
    asked: dict[str, Any] = {}

    def execute(
        self: ActionModule, module_name: str, module_args: dict[str, Any], task_vars: Any
    ) -> dict[str, Any]:
        asked.update(module_args, module=module_name)
        return apt

    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(ActionBase, "_execute_module", execute)
    action = ActionModule.__new__(ActionModule)
    action._task = SimpleNamespace(args={"name": ["nginx", "curl"], **args}, check_mode=check_mode)
    return {**action.run(task_vars={}), "asked": asked}


def test_a_dry_run_before_the_mirror_is_read_says_what_would_come_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = outcome(monkeypatch, {"failed": True, "msg": UNKNOWN}, check_mode=True)
    assert not result.get("failed")
    assert result["changed"]
    assert result["msg"].endswith("which this host does not read yet: nginx, curl")


@pytest.mark.parametrize(
    ("apt", "check_mode"),
    [
        ({"failed": True, "msg": UNKNOWN}, False),
        ({"failed": True, "msg": BROKEN}, True),
        ({"changed": True, "diff": {"prepared": "nginx"}}, True),
        ({"changed": False, "cache_updated": False}, False),
    ],
)
def test_every_other_answer_is_apts_own(
    monkeypatch: pytest.MonkeyPatch, apt: dict[str, Any], check_mode: bool
) -> None:
    result = outcome(monkeypatch, apt, check_mode)
    del result["asked"]
    assert result == apt


def test_apt_is_asked_for_no_recommended_packages_and_to_wait_for_a_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    common = {
        "module": "ansible.builtin.apt",
        "name": ["nginx", "curl"],
        "state": "present",
        "install_recommends": False,
        "lock_timeout": 120,
    }
    assert outcome(monkeypatch, {}, False)["asked"] == common
    assert outcome(monkeypatch, {}, False, policy_rc_d=101)["asked"] == {**common, "policy_rc_d": 101}


def test_the_messages_of_the_pinned_ansible_are_the_ones_that_are_recognised() -> None:
    source = inspect.getsource(apt_module)
    known = [
        text
        for text in re.findall(r'msg=f?"([^"]+)"', source)
        if unknown_yet(text.replace("{apt_pkg_name}", "python3-apt"))
    ]
    assert known == [
        "No package matching '%s' is available",
        "No package(s) matching '%s' available",
        "no available installation candidate for %s",
        "{apt_pkg_name} must be installed to use check mode. ",
    ]

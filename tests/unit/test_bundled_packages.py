# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role installs crosses the air gap: what no bundle holds fails on the first rack that needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).parents[2]
LISTS = {"debian.yml": "stronghold_debian_packages", "vllm_stack.yml": "stronghold_vllm_packages"}
HELD = {
    name
    for file, variable in LISTS.items()
    for name in yaml.safe_load((REPO / "inventories/common" / file).read_text())[variable]
}
# ZFS is in Debian's `contrib`, and is compiled for the host's kernel: a site with such a tier adds it.
ADDED_BY_SITES = {"zfsutils-linux", "zfs-zed", "zfs-dkms", "linux-headers-amd64"}


def names(value: Any) -> Iterator[str]:
    """Every text in a variable's value, whatever it is nested in."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from names(each)


def installed(role: Path) -> Iterator[str]:
    known: dict[str, Any] = {}
    for folder in ("defaults", "vars"):
        path = role / folder / "main.yml"
        known |= (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    for path in role.glob("tasks/**/*.yml"):
        for task in yaml.safe_load(path.read_text()) or []:
            asked = task.get("stronghold.llm.packages", {}).get("name", [])
            if isinstance(asked, list):
                yield from asked
                continue
            yield from re.findall(r"'([a-z0-9.+-]+)'", asked)
            for variable in set(re.findall(r"\w+", asked)) & (known | task.get("vars", {})).keys():
                if variable not in role_choices(asked):
                    yield from names((known | task.get("vars", {}))[variable])


def role_choices(expression: str) -> set[str]:
    """Variables that only choose among lists: `lists[choice]`."""
    return set(re.findall(r"\[(\w+)\]", expression))


@pytest.mark.parametrize("role", sorted((REPO / "roles").iterdir()), ids=lambda role: role.name)
def test_the_bundle_holds_what_the_role_installs(role: Path) -> None:
    assert set(installed(role)) - HELD - ADDED_BY_SITES == set()


def test_the_look_finds_lists_variables_and_choices() -> None:
    assert {"xfsprogs"} <= set(installed(REPO / "roles/storage_mount"))
    assert {"age", "clevis-tpm2", "curl"} <= set(installed(REPO / "roles/disk_encryption"))
    assert {"modsecurity-crs", "zstd"} <= set(installed(REPO / "roles/waf_gateway")) | set(
        installed(REPO / "roles/log_archive")
    )
    assert {"age", "clevis-tpm2"} <= set(installed(REPO / "roles/zfs_storage"))

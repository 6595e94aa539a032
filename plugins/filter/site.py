# SPDX-License-Identifier: GPL-3.0-or-later
"""The site declaration, in the forms in which roles take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from hashlib import sha256
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.stronghold.llm.plugins.module_utils.models import weights
from ansible_collections.stronghold.llm.plugins.module_utils.site import declaration, stack, table


def site_hosts(
    zones: Mapping[str, Any], groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Every host of the site, by name: {name, zones, ipv4, ipv6}. A zone is a group of the same name."""
    return [
        {
            "name": name,
            "zones": [zone for zone in zones if name in groups.get(zone, ())],
            "ipv4": hostvars[name].get("stronghold_ipv4", ""),
            "ipv6": hostvars[name].get("stronghold_ipv6", ""),
        }
        for name in sorted(groups["all"])
    ]


def model_digest(files: Sequence[Mapping[str, Any]]) -> str:
    """What a model's set of files is known by: 16 hex digits."""
    return weights.digest(weights.File(file["name"], file["sha256"], file["size"]) for file in files)


def hashed_keys(keys: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """API keys as a gateway may know them: `key` is replaced by its SHA-256."""
    return [
        {
            **{name: value for name, value in key.items() if name != "key"},
            "sha256": key.get("sha256") or sha256(str(key["key"]).encode()).hexdigest(),
        }
        for key in keys
    ]


def model_servers(hosts: Sequence[Mapping[str, Any]], port: int = 8443) -> list[dict[str, Any]]:
    """Where a gateway finds the model, by the names that the servers' certificates hold."""
    return [{"name": host["name"], "address": host["ipv4"] or host["ipv6"], "port": port} for host in hosts]


def host_values(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Host -> its variable of this name, of those hosts that have it."""
    return {host: hostvars[host][name] for host in hosts if name in hostvars[host]}


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the header first, as a table for people; texts to the left."""
    return table.text_table(rows[0], rows[1:], left=len(rows[0]))


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same, whose own errors reach the user as a sentence."""

    @wraps(function)
    def filter(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except stack.StackError as error:
            raise AnsibleFilterError(str(error)) from error

    return filter


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "site_hosts": site_hosts,
            "model_digest": model_digest,
            "hashed_keys": hashed_keys,
            "model_servers": model_servers,
            "host_values": host_values,
            "text_table": text_table,
            "engine_version": said(stack.engine_version),
            "accelerator_locks": said(stack.accelerator_locks),
            "key_problems": declaration.key_problems,
            "model_problems": declaration.model_problems,
            "bundle_problems": declaration.bundle_problems,
        }

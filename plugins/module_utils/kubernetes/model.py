# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the manifests: what of the plan and of the site they are made from; standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ansible_collections.stronghold.llm.plugins.module_utils.zones.matrix import Zone

Manifest = dict[str, Any]
"""One object, as the API server takes it."""

Vendor = Literal["nvidia", "amd"]

GPU_RESOURCES: dict[str, str] = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}
"""Vendor -> what its device plugin calls a GPU."""


class ManifestError(ValueError):
    """Something that no manifest can be made from; names host or model, value, rule and remedy."""


@dataclass(frozen=True)
class Node:
    """One host's part in a replica: one pod. `name` is what the host is called in the cluster, `path` is
    where the weights lie on its hot tier."""

    host: str
    name: str
    gpus: int
    path: str


@dataclass(frozen=True)
class Server:
    """One replica. `arguments` are the engine's, as the plan has them; `memory_gib` and `cpus` are of each
    pod. Nodes stand in the order of the ranks, the head first."""

    name: str
    nodes: tuple[Node, ...]
    vendor: Vendor
    image: str
    arguments: tuple[str, ...]
    cpus: int
    memory_gib: int
    runtime_class: str
    groups: tuple[int, ...]

    @property
    def spans(self) -> bool:
        return len(self.nodes) > 1


@dataclass(frozen=True)
class Settings:
    """What the site says of its cluster and the plan does not know."""

    namespace: str = "stronghold-llm"
    port: int = 8443
    images: dict[str, str] = field(default_factory=dict)
    """Vendor -> the engine's image, by digest."""
    nodes: dict[str, str] = field(default_factory=dict)
    """Host -> its name in the cluster, where that is another one."""
    runtime_classes: dict[str, str] = field(default_factory=dict)
    device_groups: dict[str, list[int]] = field(default_factory=dict)
    """Vendor -> group ids that own the device files."""
    pull_secret: str = ""
    fabric_resource: str = ""
    """What the RDMA device plugin calls a network card; replicas that span hosts talk TCP without it."""
    dns_addresses: list[str] = field(default_factory=list)
    """Where pods ask for names, where that is no pod of the cluster's DNS but a cache on each node."""
    rank_cpus: int = 4
    rank_memory_gib: int = 8
    """Of a rank's process, beyond its share of the weights."""
    shm_gib: int = 8
    start_seconds: int = 1800
    user: int = 10001


@dataclass(frozen=True)
class Service:
    """The model on the cluster: everything that the manifests say."""

    model: str
    digest: str
    weights_gib: int
    servers: tuple[Server, ...]
    sources: tuple[Zone, ...]
    """Zones from which the matrix opens the model's port."""
    settings: Settings
    programs: dict[str, str]
    """Our own programs that the pods run: name -> text."""

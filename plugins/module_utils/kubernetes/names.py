# SPDX-License-Identifier: GPL-3.0-or-later
"""What things are called in the cluster, and the labels by which they find each other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import Node, Server, Service

NAME, INSTANCE, COMPONENT = (f"app.kubernetes.io/{each}" for each in ("name", "instance", "component"))


def labels(service: Service, server: Server, role: str) -> dict[str, str]:
    return {NAME: service.model, INSTANCE: server.name, COMPONENT: role}


def weights_volume(service: Service) -> str:
    """Other weights have another name: what a volume points to cannot be changed."""
    return f"weights-{service.digest[:8]}"


def programs_name(service: Service) -> str:
    """Other programs have another name, so pods start anew with them."""
    text = "\0".join(f"{name}\0{text}" for name, text in sorted(service.programs.items()))
    return f"programs-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def tls_secret(node: Node) -> str:
    """The certificate of the host: the gateway knows a model server by its name."""
    return f"{node.name}-tls"


def claims(service: Service) -> Iterator[tuple[str, Node]]:
    """Each pod's claim and the node whose disk it is. In a group the names are those that the controllers
    look for, head `<set>-0`, others `<set>-0-<rank>`; a claim that is there is taken, and so it is the claim
    which says what rank a host has."""
    name = weights_volume(service)
    for server in service.servers:
        for rank, node in enumerate(server.nodes):
            head = "-0" if server.spans else ""
            yield f"{name}-{server.name}{head}{f'-{rank}' if rank else ''}", node

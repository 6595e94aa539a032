# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may reach whom inside the cluster: nobody, and then the holes of the zone matrix."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import Manifest, Service
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.names import COMPONENT, INSTANCE, NAME

# Where every cluster that kubeadm, kubespray or k3s makes has its DNS.
_DNS = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}


def policies(service: Service) -> Iterator[Manifest]:
    yield _policy("default-deny", {}, policyTypes=["Ingress", "Egress"])
    blocks = [
        {"ipBlock": {"cidr": str(subnet)}} for zone in service.sources for subnet in (zone.ipv4, zone.ipv6)
    ]
    yield _policy(
        f"{service.model}-from-zones",
        {NAME: service.model, COMPONENT: "server"},
        policyTypes=["Ingress"],
        ingress=[{"from": blocks, "ports": [{"port": service.settings.port, "protocol": "TCP"}]}],
    )
    caches = [{"ipBlock": {"cidr": str(ip_network(each))}} for each in service.settings.dns_addresses]
    names = [{"port": 53, "protocol": each} for each in ("UDP", "TCP")]
    for server in service.servers:
        if server.spans:
            own = {INSTANCE: server.name}
            members = {"podSelector": {"matchLabels": own}}
            # The engine and its collectives choose their ports as they go.
            yield _policy(
                f"{server.name}-group",
                own,
                policyTypes=["Ingress", "Egress"],
                ingress=[{"from": [members]}],
                egress=[{"to": [members]}, {"to": [_DNS, *caches], "ports": names}],
            )


def _policy(name: str, selected: dict[str, str], **rules: Any) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": selected} if selected else {}, **rules},
    }

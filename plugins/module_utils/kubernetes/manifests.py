# SPDX-License-Identifier: GPL-3.0-or-later
"""A planned model as Kubernetes manifests: plan and site in, objects out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes import pods, reading
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import (
    Manifest,
    Server,
    Service,
    Settings,
)
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.names import (
    COMPONENT,
    INSTANCE,
    NAME,
    claims,
    labels,
    programs_name,
    weights_volume,
)
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.policies import policies

CLUSTER_WIDE = ("Namespace", "PersistentVolume")


def manifests(
    plan: Mapping[str, Any], site: Mapping[str, Any], settings: Settings, programs: Mapping[str, str]
) -> list[Manifest]:
    """In the order in which they are to be applied.

    plan      what preflight has kept as plan.json: {model, plan or refusal, topologies}
    site      {model: {name, files}, tiers: {host: stronghold_storage_tiers}, zones, matrix, zone}
    programs  our own programs that the pods run: {name: text}

    Raises:
        ManifestError: something that no manifest can be made from, in one line.
    """
    service = reading.service(plan, site, settings, programs)
    return [_placed(each, service) for each in _objects(service)]


def notes(plan: Mapping[str, Any], settings: Settings) -> list[str]:
    """What works otherwise than a reader of the plan would think."""
    found = []
    spanning = [replica for replica in plan["plan"]["replicas"] if len(replica["shares"]) > 1]
    if spanning and not settings.fabric_resource:
        hosts = ", ".join(str(share["host"]) for share in spanning[0]["shares"])
        found.append(
            f"{hosts}: their replica talks TCP in the pods' network, slower than planned: name the RDMA "
            "device plugin's resource in kubernetes_manifests_fabric_resource"
        )
    return found


def _objects(service: Service) -> Iterator[Manifest]:
    yield _namespace(service)
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "model-server"},
        "automountServiceAccountToken": False,
    }
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": programs_name(service)},
        "immutable": True,
        "data": dict(sorted(service.programs.items())),
    }
    yield from _volumes(service)
    yield from policies(service)
    yield _budget(service)
    for server in service.servers:
        yield _address(service, server)
        yield _group(service, server) if server.spans else _deployment(service, server)


def _placed(manifest: Manifest, service: Service) -> Manifest:
    """In the namespace, and known as a part of this service."""
    metadata = manifest["metadata"]
    where = {} if manifest["kind"] in CLUSTER_WIDE else {"namespace": service.settings.namespace}
    known = {"app.kubernetes.io/part-of": "stronghold-llm", **metadata.get("labels", {})}
    return {**manifest, "metadata": {"name": metadata["name"], **where, **metadata, "labels": known}}


def _namespace(service: Service) -> Manifest:
    modes = ("enforce", "audit", "warn")
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": service.settings.namespace,
            "labels": {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes},
        },
    }


def _volumes(service: Service) -> Iterator[Manifest]:
    """Volume and claim name each other, so no other claim can have the volume and no provisioner is asked."""
    size = {"storage": f"{service.weights_gib}Gi"}
    common = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeMode": "Filesystem"}
    for claim, node in claims(service):
        volume = f"{service.settings.namespace}-{claim}"
        claimed = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim}
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **common,
                "capacity": size,
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {**claimed, "namespace": service.settings.namespace},
                "local": {"path": node.path},
                "nodeAffinity": {
                    "required": pods.on_nodes([node])["requiredDuringSchedulingIgnoredDuringExecution"]
                },
            },
        }
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim},
            "spec": {**common, "resources": {"requests": size}, "volumeName": volume},
        }


def _budget(service: Service) -> Manifest:
    """One pod at a time may be asked to go; one that does not serve holds nobody up."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": service.model},
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {NAME: service.model}},
        },
    }


def _address(service: Service, server: Server) -> Manifest:
    """One for each replica: it is the gateway that chooses among them. Callers keep their own address
    (Local), or no policy could tell them apart."""
    zones = [str(subnet) for zone in service.sources for subnet in (zone.ipv4, zone.ipv6)]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _address_name(server), "labels": {NAME: service.model, INSTANCE: server.name}},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "internalTrafficPolicy": "Local",
            "allocateLoadBalancerNodePorts": False,
            "loadBalancerSourceRanges": zones,
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {INSTANCE: server.name, COMPONENT: "server"},
            "ports": [
                {"name": "https", "port": service.settings.port, "targetPort": "https", "protocol": "TCP"}
            ],
        },
    }


def _address_name(server: Server) -> str:
    """LeaderWorkerSet makes a headless Service of the set's own name."""
    return f"{server.name}-api"


def _deployment(service: Service, server: Server) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": server.name, "labels": labels(service, server, "server")},
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 3,
            # The old pod holds the GPUs that the new one asks for.
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": service.settings.start_seconds + 600,
            "selector": {"matchLabels": labels(service, server, "server")},
            "template": pods.template(service, server, server.nodes, "server"),
        },
    }


def _group(service: Service, server: Server) -> Manifest:
    head, *others = server.nodes
    claim = {
        "metadata": {"name": weights_volume(service)},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "resources": {"requests": {"storage": f"{service.weights_gib}Gi"}},
        },
    }
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": server.name, "labels": {NAME: service.model, INSTANCE: server.name}},
        "spec": {
            "replicas": 1,
            # The head serves only once all ranks are there.
            "startupPolicy": "LeaderCreated",
            "leaderWorkerTemplate": {
                "size": len(server.nodes),
                # A rank that is left alone does not leave by itself.
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": pods.template(service, server, [head], "server"),
                "workerTemplate": pods.template(service, server, others, "worker"),
                "volumeClaimTemplates": [claim],
            },
        },
    }

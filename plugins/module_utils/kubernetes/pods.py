# SPDX-License-Identifier: GPL-3.0-or-later
"""One pod of the engine: restricted, on the host that the plan chose, with the weights it cannot write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes import engine
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import (
    GPU_RESOURCES,
    Node,
    Server,
    Service,
)
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.names import (
    labels,
    programs_name,
    tls_secret,
    weights_volume,
)

SCRATCH_GIB = 16
"""Compiled kernels and graphs, and the engine's sockets."""

PERIOD = 10
"""Seconds between two looks while the engine starts."""

_LOCKED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "privileged": False,
    "readOnlyRootFilesystem": True,
}


def template(service: Service, server: Server, nodes: Sequence[Node], role: str) -> dict[str, Any]:
    """Of the pods that run on these nodes. `role` is `server` where requests are answered, else `worker`."""
    return {
        "metadata": {"labels": labels(service, server, role)},
        "spec": {
            "serviceAccountName": "model-server",
            "automountServiceAccountToken": False,
            # Addresses of Services would come in as variables, and vLLM reads VLLM_PORT.
            "enableServiceLinks": False,
            **({"runtimeClassName": server.runtime_class} if server.runtime_class else {}),
            **(
                {"imagePullSecrets": [{"name": service.settings.pull_secret}]}
                if service.settings.pull_secret
                else {}
            ),
            "terminationGracePeriodSeconds": 120,
            "securityContext": _identity(service, server),
            "affinity": {"nodeAffinity": on_nodes(nodes)},
            **({"topologySpreadConstraints": [_spread(service, server, role)]} if len(nodes) > 1 else {}),
            "initContainers": [_weights(service, server)],
            "containers": [_engine(service, server, role)],
            "volumes": _volumes(service, server, nodes, role),
        },
    }


def on_nodes(nodes: Sequence[Node]) -> dict[str, Any]:
    names = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name for node in nodes]}
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [names]}]
        }
    }


def _identity(service: Service, server: Server) -> dict[str, Any]:
    # No fsGroup: it would have the kubelet give every file of the weights to that group.
    return {
        "runAsNonRoot": True,
        "runAsUser": service.settings.user,
        "runAsGroup": service.settings.user,
        **({"supplementalGroups": list(server.groups)} if server.groups else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _spread(service: Service, server: Server, role: str) -> dict[str, Any]:
    """Pods of one template on several hosts: one on each."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels(service, server, role)},
    }


def _weights(service: Service, server: Server) -> dict[str, Any]:
    """Every byte is read before the engine may load any."""
    size = {"cpu": str(server.cpus), "memory": "2Gi", "ephemeral-storage": "1Gi"}
    return {
        "name": "weights",
        "image": server.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", f"{engine.PROGRAMS}/weights.py", engine.MODEL, service.digest],
        "resources": {"requests": size, "limits": dict(size)},
        "securityContext": dict(_LOCKED),
        "volumeMounts": [_mount(weights_volume(service), engine.MODEL), _mount("programs", engine.PROGRAMS)],
    }


def _engine(service: Service, server: Server, role: str) -> dict[str, Any]:
    settings, answers = service.settings, role == "server"
    arguments = [engine.MODEL, *server.arguments]
    arguments += engine.group(len(server.nodes)) if server.spans else ()
    arguments += engine.endpoint(service.model, settings.port) if answers else ("--headless",)
    size = {
        "cpu": str(server.cpus),
        "memory": f"{server.memory_gib}Gi",
        "ephemeral-storage": f"{SCRATCH_GIB + 2}Gi",
        GPU_RESOURCES[server.vendor]: str(server.nodes[0].gpus),
        **({settings.fabric_resource: "1"} if settings.fabric_resource and server.spans else {}),
    }
    port = {"name": "https", "containerPort": settings.port, "protocol": "TCP"}
    mounts = [
        _mount(weights_volume(service), engine.MODEL),
        _mount("programs", engine.PROGRAMS),
        *([_mount("tls", engine.TLS)] if answers else []),
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "scratch", "mountPath": "/tmp"},
    ]
    return {
        "name": "vllm",
        "image": server.image,
        # The digest says which bytes, and a model has to come up while the registry is down.
        "imagePullPolicy": "IfNotPresent",
        "command": ["vllm", "serve"],
        "args": arguments,
        "env": _environment(server),
        **({"ports": [port]} if answers else {}),
        # What is asked for is what is had: only such a pod gets CPUs near its GPUs, and is killed last.
        "resources": {"requests": size, "limits": dict(size)},
        **(_probes(service) if answers else {}),
        "securityContext": dict(_LOCKED),
        "volumeMounts": mounts,
    }


def _environment(server: Server) -> list[dict[str, Any]]:
    values = {
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "HOME": "/tmp",
        "TRANSFORMERS_OFFLINE": "1",
        "USER": "stronghold",  # the user id has no name in the image, and PyTorch asks for one
        "VLLM_NO_USAGE_STATS": "1",
    }
    found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
    if server.spans:
        found.append({"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    return found


def _probes(service: Service) -> dict[str, Any]:
    """Asked inside the pod: the kubelet has no certificate that the engine would take."""
    port, name = str(service.settings.port), service.model

    def ask(*path: str, **timing: int) -> dict[str, Any]:
        command = ["python3", f"{engine.PROGRAMS}/ask.py", engine.TLS, port, *path]
        return {"exec": {"command": command}, "timeoutSeconds": 5, **timing}

    tries = -(-service.settings.start_seconds // PERIOD)
    return {
        "startupProbe": ask("/health", periodSeconds=PERIOD, failureThreshold=tries),
        "readinessProbe": ask("/v1/models", name, periodSeconds=5, failureThreshold=2),
        "livenessProbe": ask("/health", periodSeconds=15, failureThreshold=4),
    }


def _volumes(service: Service, server: Server, nodes: Sequence[Node], role: str) -> list[dict[str, Any]]:
    name = weights_volume(service)
    claim = {"claimName": f"{name}-{server.name}", "readOnly": True}
    return [
        # A group's pods have their claims by name, from the set's own list.
        *([] if server.spans else [{"name": name, "persistentVolumeClaim": claim}]),
        {"name": "programs", "configMap": {"name": programs_name(service), "defaultMode": 0o444}},
        *(
            [{"name": "tls", "secret": {"secretName": tls_secret(nodes[0]), "defaultMode": 0o444}}]
            if role == "server"
            else []
        ),
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{service.settings.shm_gib}Gi"}},
        {"name": "scratch", "emptyDir": {"sizeLimit": f"{SCRATCH_GIB}Gi"}},
    ]


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}

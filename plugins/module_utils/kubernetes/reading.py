# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan and site declaration, read as what manifests are made from; what cannot be is refused here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from ipaddress import ip_address
from math import ceil
from typing import Any, cast

from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes import engine
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import (
    GPU_RESOURCES,
    ManifestError,
    Node,
    Server,
    Service,
    Settings,
    Vendor,
)
from ansible_collections.stronghold.llm.plugins.module_utils.models import weights
from ansible_collections.stronghold.llm.plugins.module_utils.zones import matrix
from ansible_collections.stronghold.llm.plugins.module_utils.zones.matrix import SiteError, Zone

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
"""RFC 1035: what a Service and a LeaderWorkerSet may be called."""

NAME = 40
"""A name's most characters: a pod of a group is called NAME-<replica>-0-<rank>, and the controller's hash of
ten characters has to fit behind it into a label's 63."""

HOST_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
IMAGE = re.compile(r"[a-z0-9][a-z0-9.:/_-]*(:[\w.-]+)?@sha256:[0-9a-f]{64}")


def settings(given: Mapping[str, Any]) -> Settings:
    """What is not given has its default."""
    known = {each.name for each in fields(Settings)}
    if unknown := sorted(set(given) - known):
        raise ManifestError(f"settings: {', '.join(unknown)}: not known; use {', '.join(sorted(known))}")
    found = Settings(**{name: value for name, value in given.items() if value is not None})
    for address in found.dns_addresses:
        _address(address)
    _label(found.namespace, "the namespace", 63, "give it another one (kubernetes_manifests_namespace)")
    return found


def service(
    plan: Mapping[str, Any], site: Mapping[str, Any], chosen: Settings, programs: Mapping[str, str]
) -> Service:
    """
    Raises:
        ManifestError: the first thing that is wrong, in one line.
    """
    model = str(plan.get("model", ""))
    if not plan.get("plan"):
        why = (plan.get("refusal") or {}).get("message") or "no preflight has planned it"
        raise ManifestError(
            f"{model or 'the model'}: its plan was refused ({why}): change the wish or the hosts, and run "
            "playbooks/preflight.yml again"
        )
    if model != site["model"]["name"]:
        raise ManifestError(
            f"{model}: the plan is of this model, and the site serves {site['model']['name']}: run "
            "playbooks/preflight.yml again"
        )
    _label(model, "the model", NAME, "call it otherwise in stronghold_models")
    files = [weights.File(each["name"], each["sha256"], int(each["size"])) for each in site["model"]["files"]]
    if not files:
        raise ManifestError(
            f"{model}: it has no files, and their digest names the folder that pods read: list each with its "
            "sha256 and size in stronghold_models"
        )
    digest = weights.digest(files)
    topologies = {str(each["host"]): each for each in plan["topologies"]}
    servers = tuple(
        _server(f"{model}-{number}", replica, f"models/{model}/{digest}", topologies, site["tiers"], chosen)
        for number, replica in enumerate(plan["plan"]["replicas"])
    )
    asked: Counter[str] = Counter()
    for server in servers:
        asked.update({node.host: server.memory_gib for node in server.nodes})
    for host, memory in sorted(asked.items()):
        _room(host, memory, topologies[host])
    return Service(
        model=model,
        digest=digest,
        weights_gib=max(1, ceil(sum(file.size for file in files) / 2**30)),
        servers=servers,
        sources=_sources(site, chosen.port),
        settings=chosen,
        programs=dict(programs),
    )


def _server(
    name: str,
    replica: Mapping[str, Any],
    folder: str,
    topologies: Mapping[str, Mapping[str, Any]],
    tiers: Mapping[str, Sequence[Mapping[str, Any]]],
    chosen: Settings,
) -> Server:
    shares = [(str(share["host"]), list(share["gpus"])) for share in replica["shares"]]
    if len({len(gpus) for _, gpus in shares}) > 1:
        said = ", ".join(f"{len(gpus)} of {host}" for host, gpus in shares)
        raise ManifestError(
            f"{name}: its GPUs are {said}: the pods of a group are alike, and the engine shares ranks out "
            "evenly; set tensor_parallel and pipeline_parallel so that every host gives as many"
        )
    vendor = _vendor(name, shares, topologies)
    ranks, shard = len(shares[0][1]), float(replica["memory"]["weights"])
    # While weights are loaded the page cache holds them beside the processes; shared memory counts as well.
    memory = ceil(ranks * (shard + chosen.rank_memory_gib)) + chosen.shm_gib
    return Server(
        name=name,
        nodes=tuple(
            Node(host, _node(host, chosen), len(gpus), f"{_hot(host, tiers)}/{folder}")
            for host, gpus in shares
        ),
        vendor=vendor,
        image=_image(vendor, shares[0][0], chosen),
        arguments=engine.arguments(name, replica["serving"]),
        cpus=ranks * chosen.rank_cpus,
        memory_gib=memory,
        runtime_class=chosen.runtime_classes.get(vendor, ""),
        groups=tuple(chosen.device_groups.get(vendor, ())),
    )


def _vendor(
    name: str, shares: Iterable[tuple[str, list[int]]], topologies: Mapping[str, Mapping[str, Any]]
) -> Vendor:
    found: dict[str, str] = {}
    for host, indices in shares:
        if not indices:
            raise ManifestError(
                f"{host}: {name} has no GPU there, and a pod is given its place by the GPUs that it asks "
                "for: run a model on processors with the role model_runtime"
            )
        for gpu in topologies.get(host, {}).get("gpus", ()):
            if gpu["index"] in indices:
                found[str(gpu["vendor"])] = host
    for vendor, host in found.items():
        if vendor not in GPU_RESOURCES:
            raise ManifestError(
                f"{host}: its GPUs are of vendor {vendor!r}, whose device plugin is not known: known are "
                f"{', '.join(GPU_RESOURCES)}; leave the host out of the plan"
            )
    if len(found) != 1:
        raise ManifestError(
            f"{name}: its GPUs are of {' and '.join(found) or 'no vendor'}, and one image serves a replica: "
            "read the hosts again with playbooks/preflight.yml"
        )
    return cast(Vendor, next(iter(found)))


def _image(vendor: Vendor, host: str, chosen: Settings) -> str:
    image = chosen.images.get(vendor, "")
    if not IMAGE.fullmatch(image):
        said = f"is {image!r}" if image else "is missing"
        raise ManifestError(
            f"{host}: the image for {vendor} {said}: an image is named by its digest, or another could come "
            "under the same name; write REGISTRY/NAME@sha256:<64 hex digits> as "
            f"stronghold_stack.images.{vendor}"
        )
    return image


def _hot(host: str, tiers: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    for tier in tiers.get(host, ()):
        if tier["name"] == "hot":
            return str(tier["mount"]).rstrip("/")
    names = ", ".join(str(tier["name"]) for tier in tiers.get(host, ())) or "none"
    raise ManifestError(
        f"{host}: it has no tier 'hot' (tiers: {names}): weights are read from there; declare it in "
        "stronghold_storage_tiers"
    )


def _node(host: str, chosen: Settings) -> str:
    node = chosen.nodes.get(host, host)
    if not HOST_NAME.fullmatch(node) or len(node) > 63:
        raise ManifestError(
            f"{host}: its node {node!r} is no name that a cluster takes (a-z, 0-9, - and ., at most 63): say "
            f"what the cluster calls it in kubernetes_manifests_nodes"
        )
    return node


def _room(host: str, asked: int, topology: Mapping[str, Any]) -> None:
    """Hosts whose memory nobody has read are believed."""
    cpu = topology.get("cpu") or {}
    numa = [node.get("memory_mib") for node in topology.get("numa", ())]
    known = cpu.get("memory_mib") or (sum(numa) if numa and all(numa) else None)
    if known and asked * 1024 > known:
        raise ManifestError(
            f"{host}: its pods ask for {asked} GiB of memory and it has {known // 1024}, so one would wait "
            "for ever: lower kubernetes_manifests_rank_memory_gib or kubernetes_manifests_shm_gib"
        )


def _sources(site: Mapping[str, Any], port: int) -> tuple[Zone, ...]:
    try:
        declared = matrix.parse(site["zones"], site["matrix"], [])
    except SiteError as error:
        raise ManifestError(str(error)) from error
    core = str(site["zone"])
    names = dict.fromkeys(
        flow.source
        for flow in declared.flows
        if (flow.destination, flow.proto, flow.port) == (core, "tcp", port)
    )
    if not names:
        raise ManifestError(
            f"zone matrix: no row leads to {core} on tcp/{port}, so nobody could ask the model: add "
            f"{{from: edge, to: {core}, ports: [{port}], why: …}}, or set kubernetes_manifests_port"
        )
    return tuple(declared.zone(name) for name in names)


def _address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError as error:
        raise ManifestError(
            f"kubernetes_manifests_dns_addresses: {text!r} is no address, and a whole subnet would be a way "
            "out: name the address that stands in a pod's /etc/resolv.conf"
        ) from error


def _label(name: str, what: str, length: int, remedy: str) -> None:
    if not LABEL.fullmatch(name) or len(name) > length:
        raise ManifestError(
            f"{what} {name!r} is no DNS label of at most {length} characters (a-z, 0-9 and -, a letter "
            f"first, no - at the end), and objects and their addresses are named after it: {remedy}"
        )

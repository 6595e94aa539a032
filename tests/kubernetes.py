# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans and sites for the tests of Kubernetes manifests, and the tools that judge what was made of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.bundle.binaries import Binary, place
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.manifest import BundleError
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes import manifests as rendering
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.reading import settings
from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Plan, Weights, Wish
from ansible_collections.stronghold.llm.plugins.module_utils.planning.plan import plan
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import NumaNode, Topology

from lab.site import REPOSITORY
from tests.contract.servers import CACHE
from tests.fleets import A100, MI300X, host
from tests.sizing import inventory

MODEL = "deepseek-r1-distill-llama-70b"
IMAGES = {
    "nvidia": f"registry.site:5000/vllm@sha256:{'1' * 64}",
    "amd": f"registry.site:5000/vllm-rocm@sha256:{'2' * 64}",
}
FILES = [{"name": "model.safetensors", "sha256": "a" * 64, "size": 141107412992}]
PROGRAMS = {"weights.py": "print('weights')\n", "ask.py": "print('ask')\n"}
WISH = Wish("vllm", "0.33.0", context_tokens=65536, sequences=128, typical_tokens=8192, replicas=2)
SPAN = replace(WISH, replicas=1, tensor_parallel=8, pipeline_parallel=2)
# They take minutes to compile, which belongs to `make test-all`.
NO_TOOLS = (
    "" if "STRONGHOLD_GO_TOOLS" in os.environ else "judges in Go are built where STRONGHOLD_GO_TOOLS is set"
)
KUBE_SCORE = Binary("kube-score", "v1.20.0", go="github.com/zegl/kube-score/cmd/kube-score@v1.20.0")


def remembering(topology: Topology, gib: int = 2048) -> Topology:
    return replace(topology, numa=(NumaNode(0, "0-95", gib * 1024),))


TWO_HOSTS = [remembering(host(name, nics=["mlx5_0"])) for name in ("gpu1", "gpu2")]
THREE_HOSTS = [remembering(host(name, 4, A100, nics=["mlx5_0"])) for name in ("gpu1", "gpu2", "gpu3")]
MIXED = [remembering(host("gpu1")), remembering(host("gpu2", card=MI300X, kind="XGMI"))]


def planned(wish: Wish = WISH, fleet: Sequence[Topology] = TWO_HOSTS) -> dict[str, Any]:
    """What preflight would keep as plan.json."""
    found = plan(MODEL, inventory("datacentre-70b", MODEL), Weights("bf16"), wish, fleet)
    kept = {
        "model": MODEL,
        "plan": asdict(found) if isinstance(found, Plan) else None,
        "refusal": None if isinstance(found, Plan) else {"message": found.why},
        "topologies": [asdict(topology) for topology in fleet],
    }
    return dict(json.loads(json.dumps(kept)))


def site(**changes: Any) -> dict[str, Any]:
    tier = {"name": "hot", "mount": "/srv/stronghold/hot"}
    return {
        "model": {"name": MODEL, "files": FILES},
        "tiers": {name: [tier] for name in ("gpu1", "gpu2", "gpu3")},
        "zones": {
            "edge": {"ipv4": "10.20.20.0/24", "ipv6": "fd20:20::/64"},
            "core": {"ipv4": "10.20.30.0/24", "ipv6": "fd20:30::/64"},
            "mgmt": {"ipv4": "10.20.50.0/24", "ipv6": "fd20:50::/64"},
        },
        "matrix": [
            {"from": "edge", "to": "core", "ports": [8443], "why": "the model behind mutual TLS"},
            {"from": "mgmt", "to": ["edge", "core"], "ports": [22], "why": "administration"},
        ],
        "zone": "core",
        **changes,
    }


def render(
    plan: dict[str, Any] | None = None, declared: dict[str, Any] | None = None, **given: Any
) -> list[dict[str, Any]]:
    chosen = settings({"images": IMAGES, **given})
    return rendering.manifests(plan or planned(), declared or site(), chosen, PROGRAMS)


def of_kind(manifests: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in manifests if each["kind"] == kind]


def templates(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The templates of the pods that an object makes, none for most; a group's head first."""
    spec = manifest.get("spec", {})
    group = spec.get("leaderWorkerTemplate", {})
    found = [spec.get("template"), group.get("leaderTemplate"), group.get("workerTemplate")]
    return [each for each in found if each]


def pods(manifests: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every template as a pod of its own, also those in objects that a tool may not know."""
    for manifest in manifests:
        for number, template in enumerate(templates(manifest)):
            name = f"{manifest['metadata']['name']}-{number}"
            metadata = {**template["metadata"], "name": name, "namespace": manifest["metadata"]["namespace"]}
            spec = dict(template["spec"])
            # What the controller of a set puts in.
            claimed = manifest["spec"].get("leaderWorkerTemplate", {}).get("volumeClaimTemplates", ())
            spec["volumes"] = spec["volumes"] + [
                {"name": each["metadata"]["name"], "persistentVolumeClaim": {"claimName": "of-the-set"}}
                for each in claimed
            ]
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@cache
def kube_score() -> Path | str:
    """The linter, built once from its pinned module; else the reason why it is not there."""
    if NO_TOOLS:
        return NO_TOOLS
    tree = REPOSITORY / "build/tools"
    try:
        place([KUBE_SCORE], tree, CACHE, [Path("go"), *sorted(CACHE.glob("go/toolchain-*/go/bin/go"))])
    except BundleError as error:
        return f"kube-score {KUBE_SCORE.version} could not be built: {error}"
    return tree / KUBE_SCORE.path


@cache
def pod_security() -> Path | str:
    """The API server's own judge of pods, built once from tests/psa; else the reason why it is not there."""
    if NO_TOOLS:
        return NO_TOOLS
    program = REPOSITORY / "build/tools/pod-security"
    command = ["go", "build", "-mod=readonly", "-trimpath", "-o", str(program), "."]
    try:
        done = subprocess.run(
            command,
            cwd=REPOSITORY / "tests/psa",
            env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return "there is no Go to build the API server's judge of pods with"
    return program if done.returncode == 0 else f"tests/psa could not be built: {done.stderr.strip()[-500:]}"


def forbidden(program: Path, pods: Sequence[dict[str, Any]]) -> str:
    """What the standard `restricted` forbids of these pods; empty if nothing."""
    text = "\n".join(json.dumps(pod) for pod in pods)
    done = subprocess.run([program, "restricted"], input=text, capture_output=True, text=True, check=True)
    return done.stdout


PASSED = 10
"""The linter's grades: 10 is right, below is a warning or worse."""


def score(program: Path, text: str) -> dict[str, set[str]]:
    """Check -> the names of objects that it found wrong."""
    done = subprocess.run(
        [
            program,
            "score",
            "--all-default-optional",
            "--kubernetes-version=v1.33",
            "--output-format=json",
            "-",
        ],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, set[str]] = {}
    assert done.stdout, done.stderr
    for scored in json.loads(done.stdout):
        for each in scored["checks"]:
            if not each["skipped"] and each["grade"] < PASSED:
                found.setdefault(each["check"]["id"], set()).add(scored["object_meta"]["name"])
    return found

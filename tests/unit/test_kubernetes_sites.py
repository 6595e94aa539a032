# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference sites, rendered as a user does it, are what the API of three Kubernetes versions takes, what
its own judge of pods lets in, and what a policy linter has nothing to say about. Each judge is also seen to
refuse.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests import kubernetes as tools
from tests.kubernetes import FILES, IMAGES, MODEL, of_kind, pods, templates

REPO = Path(__file__).parents[2]
VERSIONS = ("1.33", "1.35", "1.37")

SERVE = {"backend": "vllm", "context_tokens": 65536, "slots": 128, "typical_tokens": 8192}
ONE_EACH = {**SERVE, "replicas": 2}
SPANNING = {**SERVE, "replicas": 1, "tensor_parallel": 8, "pipeline_parallel": 2}
SITES = {
    "datacentre-70b": ("datacentre-70b", ONE_EACH),
    "datacentre-70b over two hosts": ("datacentre-70b", SPANNING),
    "mixed-fleet": ("mixed-fleet", ONE_EACH),
}

# What kube-score says that we do otherwise, and why.
EXCEPTIONS = {
    "deployment-strategy": "the old pod holds the GPUs that the new one asks for, so it goes first",
    "container-image-pull-policy": "the digest says which bytes, and a model comes up without the registry",
    "deployment-replicas": "a replica is bound to the GPUs of its plan: each is a Deployment of its own",
}


@dataclass(frozen=True)
class Site:
    inventory: Path
    build: Path
    variables: dict[str, Any]

    def play(self, *options: str) -> str:
        # Whoever tried to reach a host would run `false` for it.
        known = {
            "stronghold_build_dir": str(self.build),
            "ansible_ssh_executable": "/bin/false",
            **self.variables,
        }
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "playbooks/kubernetes.yml",
            *options,
        ]
        done = subprocess.run(
            [*command, "-i", str(self.inventory), "-e", json.dumps(known)],
            cwd=REPO,
            env={
                **{name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")},
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return f"{done.stdout}{done.stderr}\nrc={done.returncode}"

    @property
    def folder(self) -> Path:
        return self.build / "kubernetes" / self.inventory.name

    @property
    def manifests(self) -> list[dict[str, Any]]:
        return [yaml.safe_load(path.read_text()) for path in sorted(self.folder.glob("*.yml"))]


def declared(name: str, serve: dict[str, Any], folder: Path, images: dict[str, str] = IMAGES) -> Site:
    """The reference site, whose model has files by now, and whose cluster has images."""
    inventory = shutil.copytree(REPO / "inventories" / name, folder / "inventories" / name)
    edited(inventory / "group_vars/all/stack.yml", lambda all: all["stronghold_stack"].update(images=images))
    edited(
        inventory / "group_vars/all/model.yml",
        lambda all: all["stronghold_models"][0].update(serve=serve, files=FILES),
    )
    return Site(inventory, folder / "build", {})


def edited(file: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    values = yaml.safe_load(file.read_text())
    edit(values)
    file.write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module", params=SITES.values(), ids=SITES.keys())
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    inventory, serve = request.param
    found = declared(inventory, serve, tmp_path_factory.mktemp("build"))
    output = found.play()
    assert "rc=0" in output, output
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_takes_every_object(site: Site, version: str) -> None:
    known = [each for each in site.manifests if each["kind"] != "LeaderWorkerSet"]
    assert len(known) > 10
    for manifest in [*known, *pods(site.manifests)]:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def misspelt(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    found = copy.deepcopy(of_kind(manifests, "NetworkPolicy")[0])
    found["spec"]["policyType"] = found["spec"].pop("policyTypes")
    return found


def a_number_as_text(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    found = copy.deepcopy(of_kind(manifests, "Service")[0])
    found["spec"]["ports"][0]["port"] = "https"
    return found


def no_image(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    found = copy.deepcopy(next(iter(pods(manifests))))
    found["spec"]["containers"][0].pop("name")
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("broken", [misspelt, a_number_as_text, no_image])
def test_the_api_refuses_what_is_wrong(
    broken: Callable[[list[dict[str, Any]]], dict[str, Any]], version: str
) -> None:
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken(tools.render()), version, strict=True)


def needed(tool: Path | str) -> Path:
    if isinstance(tool, str):
        pytest.skip(tool)
    return tool


def test_the_namespace_lets_every_pod_in(site: Site) -> None:
    [namespace] = of_kind(site.manifests, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert tools.forbidden(needed(tools.pod_security()), list(pods(site.manifests))) == ""


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("runAsNonRoot", False, "runAsNonRoot"),
        ("seccompProfile", None, "seccompProfile"),
        ("hostPath", {"name": "weights", "hostPath": {"path": "/srv"}}, "volume"),
    ],
)
def test_the_namespace_keeps_a_looser_pod_out(field: str, value: Any, said: str) -> None:
    judge = needed(tools.pod_security())
    pod = copy.deepcopy(next(iter(pods(tools.render()))))
    if field == "hostPath":
        pod["spec"]["volumes"].append(value)
    else:
        pod["spec"]["securityContext"][field] = value
    assert said in tools.forbidden(judge, [pod])


def test_the_policy_linter_finds_only_what_is_done_otherwise_for_a_reason(site: Site) -> None:
    linter = needed(tools.kube_score())
    # The linter does not know groups; their pods it does.
    known = [each for each in site.manifests if each["kind"] != "LeaderWorkerSet"]
    groups = list(pods(of_kind(site.manifests, "LeaderWorkerSet")))
    found = tools.score(linter, yaml.safe_dump_all([*known, *groups]))
    component = "app.kubernetes.io/component"
    workers = {
        each["metadata"]["name"] for each in groups if each["metadata"]["labels"][component] == "worker"
    }
    # A rank that answers nobody has nothing to be asked; its set starts it anew with its head.
    assert found.pop("pod-probes", workers) == workers
    assert set(found) <= set(EXCEPTIONS)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            ("securityContext", "readOnlyRootFilesystem"),
            False,
            "container-security-context-readonlyrootfilesystem",
        ),
        (("resources", "limits"), {}, "container-resources"),
        (("image",), "registry.site:5000/vllm:latest", "container-image-tag"),
        (("readinessProbe",), None, "pod-probes"),
    ],
)
def test_the_policy_linter_sees_a_container_that_is_worse(
    path: tuple[str, ...], value: Any, said: str
) -> None:
    linter = needed(tools.kube_score())
    made = copy.deepcopy(tools.render())
    place = templates(of_kind(made, "Deployment")[0])[0]["spec"]["containers"][0]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert said in tools.score(linter, yaml.safe_dump_all(made))


def test_the_policy_linter_sees_a_pod_that_no_policy_is_for() -> None:
    linter = needed(tools.kube_score())
    open_to_all = [each for each in tools.render() if each["kind"] != "NetworkPolicy"]
    assert "pod-networkpolicy" in tools.score(linter, yaml.safe_dump_all(open_to_all))


def rules(manifests: list[dict[str, Any]]) -> list[str]:
    """Ours, where no linter has one: nothing is named but by its digest, no secret is written down, nothing
    is served without a certificate, and nobody sends anywhere but to his own group and the DNS.
    """
    found = []
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if manifest["kind"] == "Secret":
            found.append(f"{name}: a secret in a file")
        for rule in manifest["spec"].get("egress", ()) if manifest["kind"] == "NetworkPolicy" else ():
            names_only = {port["port"] for port in rule.get("ports", ())} == {53}
            if not rule.get("to") or (any("ipBlock" in peer for peer in rule["to"]) and not names_only):
                found.append(f"{name}: a way out of the cluster")
    for pod in pods(manifests):
        for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
            where = f"{pod['metadata']['name']}/{container['name']}"
            if "@sha256:" not in container["image"]:
                found.append(f"{where}: an image without a digest")
            if "ports" in container and "--ssl-cert-reqs=2" not in container["args"]:
                found.append(f"{where}: callers need no certificate")
            for variable in container.get("env", ()):
                if any(word in variable["name"] for word in ("KEY", "TOKEN", "SECRET", "PASSWORD")):
                    found.append(f"{where}: {variable['name']}: a secret in the environment")
    return found


def test_the_sites_keep_our_own_rules(site: Site) -> None:
    assert rules(site.manifests) == []


def test_our_own_rules_see_what_breaks_them() -> None:
    made = copy.deepcopy(tools.render(tools.planned(tools.SPAN)))
    [group] = of_kind(made, "LeaderWorkerSet")
    engine = templates(group)[0]["spec"]["containers"][0]
    engine["image"] = "vllm:latest"
    engine["args"].remove("--ssl-cert-reqs=2")
    engine["env"].append({"name": "VLLM_API_KEY", "value": "x"})
    [policy] = [each for each in of_kind(made, "NetworkPolicy") if "egress" in each["spec"]]
    policy["spec"]["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})
    made.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "spec": {}})
    assert len(rules(made)) == 5


def strict(schema: Any) -> Any:
    """As the API server would take it with strict field validation: no field that is not declared."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for each in schema.values():
            strict(each)
    elif isinstance(schema, list):
        for each in schema:
            strict(each)
    return schema


@pytest.mark.parametrize("broken", [False, True], ids=["as rendered", "misspelt"])
def test_a_group_is_what_the_definition_of_leaderworkerset_asks_for(broken: bool) -> None:
    file = os.environ.get("STRONGHOLD_LWS_CRD")
    if not file:
        pytest.skip(
            "STRONGHOLD_LWS_CRD names no file: the definition of LeaderWorkerSet is in no package that a "
            "clean clone can install; give it the one of your cluster (kubectl get crd -o yaml)"
        )
    [version] = [
        each for each in yaml.safe_load(Path(file).read_text())["spec"]["versions"] if each["name"] == "v1"
    ]
    schema = strict({**version["schema"]["openAPIV3Schema"]})
    [group] = of_kind(tools.render(tools.planned(tools.SPAN)), "LeaderWorkerSet")
    group = {name: value for name, value in group.items() if name != "metadata"}
    if broken:
        group["spec"]["leaderWorkerTemplate"]["sizes"] = 2
    assert jsonschema.Draft7Validator(schema).is_valid(group) != broken


def test_a_second_run_changes_nothing_and_check_mode_shows_what_would_change(tmp_path: Path) -> None:
    site = declared("mixed-fleet", ONE_EACH, tmp_path)
    checked = site.play("--check", "--diff")
    assert "rc=0" in checked, checked
    assert not site.folder.exists()
    assert "changed     localhost  The planned model is a folder of manifests" in site.play()
    again = site.play()
    assert "rc=0" in again
    assert "The planned model is a folder of manifests" not in again  # only what changes is printed
    site.variables["kubernetes_manifests_shm_gib"] = 9
    shown = site.play("--check", "--diff")
    assert "+          sizeLimit: 9Gi" in shown
    assert "sizeLimit: 9Gi" not in (site.folder / f"60-deployment-{MODEL}-0.yml").read_text()


def test_a_site_without_images_is_refused_in_one_line(tmp_path: Path) -> None:
    site = declared("mixed-fleet", ONE_EACH, tmp_path, images={})
    output = site.play()
    assert "rc=0" not in output
    assert "stronghold_stack.images." in output
    assert "Traceback" not in output
    assert not site.folder.exists()

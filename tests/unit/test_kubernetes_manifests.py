# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan becomes on a cluster: what the plan knows is said as it knows it, what cannot be is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes import manifests as rendering
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes import writing
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import ManifestError
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.reading import settings
from ansible_collections.stronghold.llm.plugins.module_utils.models import weights

from tests.kubernetes import (
    FILES,
    IMAGES,
    MIXED,
    MODEL,
    SPAN,
    THREE_HOSTS,
    WISH,
    of_kind,
    planned,
    render,
    site,
    templates,
)


def container(template: dict[str, Any]) -> dict[str, Any]:
    [found] = template["spec"]["containers"]
    return dict(found)


def nodes(affinity: dict[str, Any]) -> list[str]:
    [term] = affinity["nodeSelectorTerms"]
    [expression] = term["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("kubernetes.io/hostname", "In")
    return list(expression["values"])


def chosen(template: dict[str, Any]) -> list[str]:
    affinity = template["spec"]["affinity"]["nodeAffinity"]
    return nodes(affinity["requiredDuringSchedulingIgnoredDuringExecution"])


def test_each_replica_asks_for_the_gpus_of_its_plan_on_the_host_of_its_plan() -> None:
    plan = planned(fleet=MIXED)
    found = {}
    for deployment in of_kind(render(plan), "Deployment"):
        [template] = templates(deployment)
        limits = container(template)["resources"]["limits"]
        gpus = {name: number for name, number in limits.items() if name.endswith("/gpu")}
        found[chosen(template)[0]] = (gpus, container(template)["image"])
    shares = {replica["shares"][0]["host"]: replica["shares"][0] for replica in plan["plan"]["replicas"]}
    assert found == {
        "gpu1": ({"nvidia.com/gpu": str(len(shares["gpu1"]["gpus"]))}, IMAGES["nvidia"]),
        "gpu2": ({"amd.com/gpu": str(len(shares["gpu2"]["gpus"]))}, IMAGES["amd"]),
    }


def test_the_engine_is_started_as_the_plan_says() -> None:
    plan = planned()
    serving = plan["plan"]["replicas"][0]["serving"]
    serving.update(
        tensor_parallel=8, max_model_len=4711, max_num_seqs=12, kv_cache="fp8", max_num_batched_tokens=8192,
        gpu_memory_utilization=0.87, enforce_eager=True,
    )  # fmt: skip
    arguments = container(templates(of_kind(render(plan), "Deployment")[0])[0])["args"]
    assert arguments[:9] == [
        "/models",
        "--tensor-parallel-size=8",
        "--pipeline-parallel-size=1",
        "--gpu-memory-utilization=0.87",
        "--max-model-len=4711",
        "--max-num-seqs=12",
        "--max-num-batched-tokens=8192",
        "--kv-cache-dtype=fp8",
        "--enforce-eager",
    ]


def test_what_the_plan_leaves_open_is_left_to_the_engine() -> None:
    arguments = container(templates(of_kind(render(), "Deployment")[0])[0])["args"]
    assert [argument for argument in arguments if "None" in argument or "batched" in argument] == []


def test_callers_without_a_certificate_are_turned_away() -> None:
    template = templates(of_kind(render(), "Deployment")[0])[0]
    assert {"--ssl-cert-reqs=2", "--port=8443", f"--served-model-name={MODEL}"} < set(
        container(template)["args"]
    )
    [tls] = [volume for volume in template["spec"]["volumes"] if volume["name"] == "tls"]
    assert tls["secret"]["secretName"] == "gpu1-tls"


@pytest.mark.parametrize(
    ("fleet", "wish"),
    [(None, SPAN), (THREE_HOSTS, replace(SPAN, tensor_parallel=4, pipeline_parallel=3, sequences=16))],
    ids=["two hosts", "three hosts"],
)
def test_a_replica_that_spans_hosts_is_one_group_with_each_rank_on_the_host_of_the_plan(
    fleet: Any, wish: Any
) -> None:
    plan = planned(wish, fleet) if fleet else planned(wish)
    assert plan["plan"], plan["refusal"]
    hosts = [share["host"] for share in plan["plan"]["replicas"][0]["shares"]]
    assert len(hosts) == (3 if fleet else 2)
    made = render(plan)
    assert of_kind(made, "Deployment") == []
    [group] = of_kind(made, "LeaderWorkerSet")
    head, worker = templates(group)
    assert group["spec"]["leaderWorkerTemplate"]["size"] == len(hosts)
    assert (chosen(head), chosen(worker)) == (hosts[:1], hosts[1:])
    assert ("topologySpreadConstraints" in worker["spec"]) == (len(hosts) > 2)
    # A pod is called <set>-0 or <set>-0-<rank>, and has the claim of its own name on its own host's disk.
    [claim] = group["spec"]["leaderWorkerTemplate"]["volumeClaimTemplates"]
    prefix = f"{claim['metadata']['name']}-{group['metadata']['name']}-0"
    where = {
        volume["spec"]["claimRef"]["name"]: nodes(volume["spec"]["nodeAffinity"]["required"])
        for volume in of_kind(made, "PersistentVolume")
    }
    assert where == {f"{prefix}-{rank}" if rank else prefix: [host] for rank, host in enumerate(hosts)}


def test_ranks_of_a_group_find_their_head_and_only_the_head_answers() -> None:
    [group] = of_kind(render(planned(SPAN)), "LeaderWorkerSet")
    head, worker = (container(template) for template in templates(group))
    together = {
        "--nnodes=2",
        "--node-rank=$(LWS_WORKER_INDEX)",
        "--master-addr=$(LWS_LEADER_ADDRESS)",
        "--pipeline-parallel-size=2",
    }
    assert together < set(head["args"])
    assert together < set(worker["args"])
    assert "--headless" not in head["args"]
    assert "--headless" in worker["args"]
    assert "ports" not in worker
    assert "readinessProbe" not in worker
    assert not any("ssl" in argument for argument in worker["args"])
    assert group["spec"]["leaderWorkerTemplate"]["restartPolicy"] == "RecreateGroupOnPodRestart"


def test_nothing_is_open_but_the_matrix() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(render(), "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    [hole] = policies[f"{MODEL}-from-zones"]["ingress"]
    assert hole == {
        "from": [{"ipBlock": {"cidr": "10.20.20.0/24"}}, {"ipBlock": {"cidr": "fd20:20::/64"}}],
        "ports": [{"port": 8443, "protocol": "TCP"}],
    }
    assert [name for name, spec in policies.items() if "egress" in spec] == []


def test_only_a_group_may_send_and_only_to_itself_and_the_dns() -> None:
    spanning = of_kind(render(planned(SPAN)), "NetworkPolicy")
    [group] = [each for each in spanning if "egress" in each["spec"]]
    own = {"app.kubernetes.io/instance": f"{MODEL}-0"}
    members, dns = group["spec"]["egress"]
    assert members == {"to": [{"podSelector": {"matchLabels": own}}]}
    assert [port["port"] for port in dns["ports"]] == [53, 53]
    assert group["spec"]["podSelector"]["matchLabels"] == own


def test_a_name_cache_on_each_node_may_be_asked_and_nothing_else_there() -> None:
    plan = planned(SPAN)
    made = of_kind(render(plan, dns_addresses=["169.254.25.10"]), "NetworkPolicy")
    [group] = [each for each in made if "egress" in each["spec"]]
    _, dns = group["spec"]["egress"]
    assert {"ipBlock": {"cidr": "169.254.25.10/32"}} in dns["to"]
    assert {port["port"] for port in dns["ports"]} == {53}


def test_weights_are_read_from_the_hot_tier_and_cannot_be_written() -> None:
    made = render()
    digest = weights.digest(weights.File(**each) for each in FILES)
    for volume in of_kind(made, "PersistentVolume"):
        assert volume["spec"]["local"]["path"] == f"/srv/stronghold/hot/models/{MODEL}/{digest}"
        assert volume["spec"]["accessModes"] == ["ReadOnlyMany"]
    for deployment in of_kind(made, "Deployment"):
        [template] = templates(deployment)
        for each in (*template["spec"]["initContainers"], container(template)):
            assert [
                mount["readOnly"] for mount in each["volumeMounts"] if mount["mountPath"] == "/models"
            ] == [True]
        assert "fsGroup" not in template["spec"]["securityContext"]
        [check] = template["spec"]["initContainers"]
        assert check["command"][-2:] == ["/models", digest]


def test_two_replicas_on_one_host_each_have_a_claim() -> None:
    plan = planned()
    for replica in plan["plan"]["replicas"]:
        replica["shares"][0].update(host="gpu1", gpus=[0, 1, 2, 3])
    made = render(plan)
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for deployment in of_kind(made, "Deployment")
        for volume in templates(deployment)[0]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert len(set(claims)) == 2
    assert sorted(claims) == sorted(
        each["metadata"]["name"] for each in of_kind(made, "PersistentVolumeClaim")
    )


def test_other_weights_and_other_programs_have_other_names() -> None:
    """A volume's path and a mounted program cannot be changed under a pod that runs."""
    other = site(model={"name": MODEL, "files": [{**FILES[0], "sha256": "b" * 64}]})
    names = {each["metadata"]["name"] for each in of_kind(render(), "PersistentVolume")}
    assert names.isdisjoint(
        each["metadata"]["name"] for each in of_kind(render(None, other), "PersistentVolume")
    )
    changed = rendering.manifests(planned(), site(), settings({"images": IMAGES}), {"ask.py": "other"})
    assert (
        of_kind(changed, "ConfigMap")[0]["metadata"]["name"]
        != of_kind(render(), "ConfigMap")[0]["metadata"]["name"]
    )


def test_the_cluster_is_asked_for_what_it_calls_things() -> None:
    [deployment, _] = of_kind(
        render(
            nodes={"gpu1": "node-7.site"},
            runtime_classes={"nvidia": "nvidia"},
            device_groups={"nvidia": [44]},
            pull_secret="registry",
            fabric_resource="rdma/hca",
        ),
        "Deployment",
    )
    [template] = templates(deployment)
    spec = template["spec"]
    assert chosen(template) == ["node-7.site"]
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["securityContext"]["supplementalGroups"] == [44]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert "rdma/hca" not in container(template)["resources"]["limits"]  # it spans no hosts
    [group] = of_kind(render(planned(SPAN), fabric_resource="rdma/hca"), "LeaderWorkerSet")
    assert [container(each)["resources"]["limits"]["rdma/hca"] for each in templates(group)] == ["1", "1"]


def test_a_group_without_a_fabric_is_said_to_be_slower_than_planned() -> None:
    [note] = rendering.notes(planned(SPAN), settings({}))
    assert "gpu1, gpu2" in note
    assert rendering.notes(planned(SPAN), settings({"fabric_resource": "rdma/hca"})) == []
    assert rendering.notes(planned(), settings({})) == []


def refused(plan: Any = None, declared: Any = None, **given: Any) -> str:
    with pytest.raises(ManifestError) as caught:
        render(plan, declared, **given)
    message = str(caught.value)
    assert "\n" not in message
    return message


def without_digest(image: str) -> dict[str, str]:
    return {**IMAGES, "nvidia": image}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"images": {}}, r"gpu1: the image for nvidia is missing: .*stronghold_stack.images.nvidia"),
        ({"images": without_digest("vllm:latest")}, r"gpu1: .*'vllm:latest'.*@sha256:"),
        ({"images": without_digest(f"vllm@sha256:{'1' * 63}")}, r"gpu1: .*64 hex digits"),
        ({"namespace": "Stronghold"}, r"the namespace 'Stronghold' is no DNS label"),
        ({"nodes": {"gpu1": "gpu_1"}}, r"gpu1: its node 'gpu_1' .*kubernetes_manifests_nodes"),
        ({"port": 9999}, r"no row leads to core on tcp/9999.*add \{from: edge"),
        ({"rank_memory_gib": 4096}, r"gpu1: its pods ask for \d+ GiB of memory and it has 2048.*lower"),
        ({"dns_addresses": ["0.0.0.0/0"]}, r"'0.0.0.0/0' is no address.*resolv.conf"),
        ({"colour": "red"}, r"settings: colour: not known"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_with_host_value_rule_and_remedy(
    given: dict[str, Any], said: str
) -> None:
    assert re.search(said, refused(**given))


def test_a_refused_plan_is_not_rendered_and_its_reason_is_passed_on() -> None:
    plan = planned(replace(WISH, sequences=100_000))
    assert plan["plan"] is None
    message = refused(plan)
    assert plan["refusal"]["message"] in message
    assert "playbooks/preflight.yml" in message


def test_a_host_without_a_hot_tier_is_named() -> None:
    declared = site()
    declared["tiers"]["gpu2"] = [{"name": "warm", "mount": "/srv/warm"}]
    assert refused(None, declared).startswith("gpu2: it has no tier 'hot' (tiers: warm)")


def test_a_model_without_files_has_no_folder_to_mount() -> None:
    assert "it has no files" in refused(None, site(model={"name": MODEL, "files": []}))


def test_a_plan_of_another_model_is_not_rendered() -> None:
    assert "the site serves other" in refused(None, site(model={"name": "other", "files": FILES}))


@pytest.mark.parametrize("name", ["Llama-70B", "llama.70b", "70b", "m" * 41, "llama-"])
def test_a_model_whose_name_is_no_dns_label_is_refused(name: str) -> None:
    plan = {**planned(), "model": name}
    assert "no DNS label" in refused(plan, site(model={"name": name, "files": FILES}))


def test_a_vendor_without_a_known_device_plugin_is_refused() -> None:
    plan = planned()
    for gpu in plan["topologies"][0]["gpus"]:
        gpu["vendor"] = "intel"
    assert re.search(r"gpu1: .*'intel'.*known are nvidia, amd", refused(plan))


def test_a_replica_on_processors_is_refused() -> None:
    plan = planned()
    plan["topologies"][0] = {**plan["topologies"][0], "gpus": ()}
    plan["plan"]["replicas"][0]["shares"][0]["gpus"] = ()
    assert re.search(r"gpu1: .*no GPU.*model_runtime", refused(plan))


def test_another_engine_is_refused() -> None:
    plan = planned()
    plan["plan"]["replicas"][0]["serving"]["engine"] = "llama_cpp"
    assert re.search(r"-0: its engine is llama_cpp.*vLLM only", refused(plan))


def test_hosts_that_give_unequal_gpus_are_refused() -> None:
    plan = planned(SPAN)
    plan["plan"]["replicas"][0]["shares"][1]["gpus"] = [0, 1, 2]
    assert re.search(r"8 of gpu1, 3 of gpu2", refused(plan))


def test_files_are_in_order_and_read_back_as_what_they_were() -> None:
    made = render(planned(SPAN))
    files = writing.files(made)
    assert len(files) == len(made)
    assert next(iter(sorted(files))) == "00-namespace-stronghold-llm.yml"
    read = [yaml.safe_load(text) for text in files.values()]
    assert read == made
    assert all("&id" not in text for text in files.values())
    kinds = [yaml.safe_load(files[name])["kind"] for name in sorted(files)]
    assert kinds.index("NetworkPolicy") < kinds.index("LeaderWorkerSet")


def test_a_second_run_changes_nothing_and_what_is_no_longer_planned_goes(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    both = writing.files(render())
    writing.write(writing.changes(both, folder), folder)
    (folder / "kustomization.yml").write_text("mine\n")
    assert writing.changes(both, folder) == {}
    plan = planned()
    del plan["plan"]["replicas"][1]
    fewer = writing.files(render(plan))
    changed = writing.changes(fewer, folder)
    assert {name for name, (_, after) in changed.items() if not after} == both.keys() - fewer.keys()
    writing.write(changed, folder)
    assert {path.name for path in folder.iterdir()} == {*fewer, "kustomization.yml"}

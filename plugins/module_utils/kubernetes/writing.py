# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests as files of a folder: one each, in a stable order, and none left over from before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from ansible_collections.stronghold.llm.plugins.module_utils.kubernetes.model import Manifest

HEADER = "# Managed by stronghold.llm (role kubernetes_manifests).\n"

ORDER = {
    "Namespace": 0,
    "ServiceAccount": 10,
    "ConfigMap": 10,
    "NetworkPolicy": 20,
    "PersistentVolume": 30,
    "PersistentVolumeClaim": 31,
    "PodDisruptionBudget": 40,
    "Service": 50,
    "Deployment": 60,
    "LeaderWorkerSet": 60,
}
"""`kubectl apply -f FOLDER` goes by name: walls before whoever lives between them."""

_OURS = re.compile(r"\d\d-.+\.yml")


class _Text(yaml.SafeDumper):
    """Lines of a program stay lines; lists are written out, never referred to."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Text.add_representer(str, _string)


def text(manifest: Manifest) -> str:
    return HEADER + yaml.dump(
        manifest, Dumper=_Text, sort_keys=False, allow_unicode=True, width=110, explicit_start=True
    )


def files(manifests: Iterable[Manifest]) -> dict[str, str]:
    """File name -> content."""
    return {
        f"{ORDER[each['kind']]:02}-{each['kind'].lower()}-{each['metadata']['name']}.yml": text(each)
        for each in manifests
    }


def changes(wanted: Mapping[str, str], folder: Path) -> dict[str, tuple[str, str]]:
    """What would change in the folder: name -> (before, after); of a file that is to go, `after` is empty."""
    there = {path.name: path.read_text() for path in folder.glob("*.yml") if _OURS.fullmatch(path.name)}
    return {
        name: (there.get(name, ""), wanted.get(name, ""))
        for name in sorted({*there, *wanted})
        if there.get(name) != wanted.get(name)
    }


def write(changed: Mapping[str, tuple[str, str]], folder: Path) -> None:
    """Each file is there whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, after) in changed.items():
        path = folder / name
        if not after:
            path.unlink()
            continue
        new = folder / f".{name}.new"
        new.write_text(after)
        new.replace(path)

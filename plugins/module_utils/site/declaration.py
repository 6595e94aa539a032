# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a site declares can be true: models, keys and the bundle that should hold them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.models import weights

KEY_LENGTH = 32  # characters; of letters and digits that is 190 bits


def key_problems(keys: Sequence[Mapping[str, Any]]) -> list[str]:
    """API keys that must not be used. A message names the key's owner and length, never the key."""
    found = []
    for number, key in enumerate(keys, start=1):
        owner = key.get("name") or f"number {number}"
        if "key" in key and len(str(key["key"])) < KEY_LENGTH:
            found.append(
                f"stronghold_api_keys: the key of {owner} has {len(str(key['key']))} characters, "
                f"the least is {KEY_LENGTH}: make a longer one"
            )
        elif "key" not in key and len(str(key.get("sha256", ""))) != 64:
            found.append(f"stronghold_api_keys: {owner} has neither a key nor the 64 hex digits of a sha256")
    for owner, count in Counter(key.get("name") for key in keys).items():
        if count > 1:
            found.append(f"stronghold_api_keys: {count} keys are named {owner}: give each its own name")
    return found


def model_problems(models: Sequence[Mapping[str, Any]], served: str, on_paper: bool = False) -> list[str]:
    """A model to be served that is not declared, or a declared one that must not be loaded.

    `on_paper`: what is only planned needs no files yet.
    """
    found = []
    names = [str(model.get("name", "")) for model in models]
    if served not in names:
        found.append(
            f"stronghold_model: {served!r} is not declared; stronghold_models has {', '.join(names)}"
        )
    for model in models:
        files = [str(file.get("name", "")) for file in model.get("files", ())]
        if not files and not on_paper:
            found.append(f"stronghold_models: {model.get('name')} has no files: list each with its sha256")
        found += [f"stronghold_models: {model.get('name')}: {text}" for text in weights.name_problems(files)]
    return found


def bundle_problems(models: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> list[str]:
    """Model files that the site declares and the bundle does not hold, or holds with other bytes."""
    carried = {str(file["path"]): str(file["sha256"]) for file in manifest.get("files", ())}
    found = []
    for model in models:
        for file in model.get("files", ()):
            path = f"models/{model['name']}/{file['name']}"
            if path not in carried:
                found.append(f"{path} is declared but not in the bundle: make the bundle again")
            elif carried[path] != file["sha256"]:
                found.append(
                    f"{path} has sha256 {carried[path]} in the bundle, declared is {file['sha256']}: "
                    "correct the declaration, or make the bundle again"
                )
    return found

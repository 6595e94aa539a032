# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's pools, looked at and made as they are declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.storage import live
from ansible_collections.stronghold.llm.plugins.module_utils.zfs import plan, pools
from ansible_collections.stronghold.llm.plugins.module_utils.zfs.keys import Keyring
from ansible_collections.stronghold.llm.plugins.module_utils.zfs.tiers import FOREVER, PROPERTIES, Tier
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import Run, may, must

ENCRYPTION = ("encryption", "encryptionroot", "keystatus", "mounted")
ROUNDS = 3  # a pool is imported or made, its properties are put right, and a look finds nothing more
STATUS = ("zpool", "status", "-j", "--json-int")


class DiffersError(Exception):
    """A pool or its key is not as declared, and nothing safe makes it so."""


@dataclass(frozen=True)
class Change:
    tier: str
    does: str

    def __str__(self) -> str:
        return f"{self.tier}: {self.does}"


@dataclass(frozen=True)
class Host:
    name: str
    run: Run
    keyring: Keyring

    def look(self, tiers: Sequence[Tier]) -> plan.Seen:
        found = pools.pools(must(self.run, *STATUS))
        names = [tier.name for tier in tiers]
        # Asked for only where it matters: it reads every disk.
        missing = any(name not in found for name in names)
        others = pools.importable(may(self.run, "zpool", "import", "-d", plan.BY_ID)) if missing else set()
        return plan.Seen(
            disks=live.look(self.name, self.run, mdadm=False).disks,
            pools=found,
            properties={name: self._properties(name) for name in names if name in found},
            importable=frozenset(others),
        )

    def _properties(self, name: str) -> dict[str, str]:
        dataset = must(self.run, "zfs", "get", "-j", ",".join((*ENCRYPTION, *PROPERTIES)), name)
        pool = must(self.run, "zpool", "get", "-j", ",".join(FOREVER), name)
        return pools.properties(dataset, name) | pools.properties(pool, name)

    def report(self, tiers: Sequence[Tier]) -> list[dict[str, Any]]:
        """Each tier as it is, for people and for proofs."""
        seen = self.look(tiers)
        return [self._report(tier, seen) for tier in tiers]

    def _report(self, tier: Tier, seen: plan.Seen) -> dict[str, Any]:
        pool = seen.pools.get(tier.name)
        if pool is None:
            return {
                "name": tier.name,
                "state": "absent",
                "layout": "",
                "differences": ["no such pool is in use"],
            }
        return {
            "name": tier.name,
            "state": pool.state,
            "layout": " and ".join(pool.layouts),
            "disks": {disk.path.rpartition("/")[2]: disk.state for disk in pool.disks},
            "errors": pool.errors,
            "lost_files": pool.lost_files,
            "differences": plan.differences(tier, seen),
            "escrowed": self.keyring.whole(tier.name),
            **{name: seen.properties[tier.name][name] for name in ENCRYPTION},
        }

    def changes(self, tiers: Sequence[Tier]) -> list[Change]:
        """What `apply` would do; all tiers are judged, and nothing is touched."""
        seen = self.look(tiers)
        return [change for tier in tiers for change in self._changes(tier, seen)]

    def _changes(self, tier: Tier, seen: plan.Seen) -> Iterator[Change]:
        self._must_fit(tier, seen)
        if not self.keyring.whole(tier.name):
            yield self._new_key(tier)
        for step in plan.steps(tier, seen):
            yield Change(tier.name, str(step))

    def apply(self, tiers: Sequence[Tier]) -> list[Change]:
        if not self.changes(tiers):
            return []
        return [change for tier in tiers for change in self._apply(tier)]

    def _apply(self, tier: Tier) -> Iterator[Change]:
        if not self.keyring.whole(tier.name):
            self.keyring.ensure(tier.name)
            yield self._new_key(tier)
        for _ in range(ROUNDS):
            seen = self.look([tier])
            self._must_fit(tier, seen)
            steps = plan.steps(tier, seen)
            for step in steps:
                must(self.run, *step.command, data=self.keyring.ensure(tier.name) if step.keyed else "")
                yield Change(tier.name, str(step))
            if not steps:
                return
        raise DiffersError(f"ZFS took {steps[0]}, and the pool is still not as declared: look at zfs get all")

    def _new_key(self, tier: Tier) -> Change:
        return Change(tier.name, f"a key, kept by {self.keyring.unlock}, escrowed and recorded")

    def _must_fit(self, tier: Tier, seen: plan.Seen) -> None:
        if wrong := plan.differences(tier, seen):
            raise DiffersError(
                f"the pool {tier.name} is not the tier that is declared: {'; '.join(wrong)}. None is made "
                "anew: declare what is there, or move its data away and destroy it by hand "
                f"(zpool destroy {tier.name})"
            )
        if seen.has(tier) and not self.keyring.has(tier.name):
            raise DiffersError(
                f"the pool {tier.name} is there and its key {self.keyring.kept(tier.name)} is not: bring it "
                f"back from the escrow ({self.keyring.escrowed(tier.name)}, or a copy of it), as a new key "
                "opens nothing"
            )

# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a host that is there: what `reading` makes sense of."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ansible_collections.stronghold.llm.plugins.module_utils.storage import reading
from ansible_collections.stronghold.llm.plugins.module_utils.storage.model import (
    Array,
    Host,
    Record,
    Signature,
)
from ansible_collections.stronghold.llm.plugins.module_utils.zones.commands import Run, may, must

CONF = Path("/etc/mdadm/mdadm.conf.d/stronghold-arrays.conf")
RECORDS = Path("/var/lib/stronghold/storage")
BLOCK = Path("/sys/block")


def look(name: str, run: Run, mdadm: bool) -> Host:
    """The host of this name. Without mdadm, as on a bare host, superblocks are signatures only."""
    lsblk = must(run, *reading.LSBLK)
    plain = reading.disks(lsblk, {}, {}, {}, {}, frozenset())
    # A tape library's or a card reader's empty drive is no error of the host.
    names = [disk.path for disk in plain if Path(disk.path).exists()]
    signatures = reading.signatures(must(run, *reading.WIPEFS, *names) if names else "")
    raids = [f"/dev/{each}" for each, found in signatures.items() if _is_raid(found)]
    examined = reading.superblocks(run((*reading.EXAMINE, *raids), "")[1]) if raids and mdadm else {}
    return Host(
        name=name,
        disks=reading.disks(
            lsblk,
            signatures,
            {path.removeprefix("/dev/"): superblock for path, superblock in examined.items()},
            _links("by-id"),
            {name: links[0] for name, links in _links("by-path").items()},
            frozenset(disk.kernel_name for disk in plain if _is_held(disk.path)),
        ),
        arrays=tuple(_arrays(run, mdadm)),
        conf=CONF.read_text() if CONF.exists() else "",
        records={path.stem: reading.record(path.read_text()) for path in sorted(RECORDS.glob("*.json"))},
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        cores=os.cpu_count() or 1,
    )


def write(path: Path, text: str) -> None:
    """Whole or not at all, also if the power fails."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_record(tier: str, record: Record) -> None:
    write(RECORDS / f"{tier}.json", reading.record_text(record))


def _is_raid(signatures: Iterable[Signature]) -> bool:
    return any(each.kind == "linux_raid_member" for each in signatures)


def _is_held(path: str) -> bool:
    """Whether the kernel has given the disk to somebody: it refuses a second exclusive opening."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _links(kind: str) -> dict[str, tuple[str, ...]]:
    """Kernel name -> udev's links of one kind."""
    found: dict[str, tuple[str, ...]] = {}
    for link in sorted(Path(f"/dev/disk/{kind}").glob("*")):
        name = link.resolve().name
        found[name] = (*found.get(name, ()), link.name)
    return found


def _arrays(run: Run, mdadm: bool) -> Iterator[Array]:
    for folder in sorted(path.parent for path in BLOCK.glob("md*/md")):
        export = may(run, "mdadm", "--detail", "--export", f"/dev/{folder.name}") if mdadm else ""
        yield reading.array(folder.name, _sysfs(folder), export)


def _sysfs(folder: Path) -> dict[str, str]:
    texts = {}
    for pattern in ("size", "md/*", "md/bitmap/location", "md/dev-*/state", "md/dev-*/slot"):
        for path in folder.glob(pattern):
            try:
                texts[str(path.relative_to(folder))] = path.read_text().strip()
            except OSError:  # it is a folder, can only be written, or its disk has gone this moment
                continue
    for member in folder.glob("md/dev-*"):
        # The link stays when the bus has lost the disk, and leads nowhere.
        there = (member / "block").exists()
        texts[f"md/{member.name}/present"] = "yes" if there else "no"
    return texts

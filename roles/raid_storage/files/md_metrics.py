#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""State of the host's md arrays for Prometheus (a text file for the node exporter).

Without arguments, by a timer: writes what the kernel says. As PROGRAM of `mdadm --monitor`, with an event and
the devices that it is about: says it in the journal too, and keeps when each kind of event was last seen.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path("/var/lib/prometheus/node-exporter")
ARRAYS = Path("/etc/mdadm/mdadm.conf.d/stronghold-arrays.conf")
BLOCK, LINKS = Path("/sys/block"), Path("/dev/md")
MAY_DIE = {
    "raid1": lambda disks: disks - 1,
    "raid5": lambda _: 1,
    "raid6": lambda _: 2,
    "raid10": lambda _: 1,
}

HELP = {
    "up": "Whether the declared array runs.",
    "disks": "Disks with data and parity, as the array is meant to have.",
    "disks_missing": "Of these the ones whose data is not there, or not wholly yet.",
    "disks_failed": "Disks that md has given up and that are still in the array.",
    "disks_spare": "Disks that stand by.",
    "disks_may_die": "How many more may die without a loss, whichever they are; below 0, data is lost.",
    "sync": "1 for what the array is doing now: resync, recover, reshape, check, repair.",
    "sync_progress_ratio": "How far that is, 0 to 1.",
    "mismatches": "Sectors that the last check found to disagree with their parity or copy.",
    "collected_timestamp_seconds": "When this was written.",
    "last_event_timestamp_seconds": "When mdadm last told an event of this kind.",
}

# mdadm(8), monitor mode: what a person has to look at. The rest is news.
GRAVE = ("Fail", "FailSpare", "DegradedArray", "DeviceDisappeared", "SparesMissing")

Sample = tuple[str, dict[str, str], float]


def read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def number(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def names(links: Path) -> dict[str, str]:
    """Kernel name -> the array's own name."""
    return {path.resolve().name: path.name for path in sorted(links.glob("*"))} if links.is_dir() else {}


def samples(block: Path, links: Path, declared: str) -> Iterator[Sample]:
    """All but the time. `declared` is the text of our ARRAY lines."""
    known = names(links)
    running = set()
    for md in sorted(block.glob("md*/md")):
        level, state = read(md / "level"), read(md / "array_state")
        if not level.startswith("raid") or state in ("", "clear", "inactive"):
            continue
        name = known.get(md.parent.name, md.parent.name)
        running.add(name)
        yield from array(md, level, {"array": name, "level": level})
    for name in re.findall(r"^ARRAY /dev/md/(\S+)", declared, re.MULTILINE):
        yield "up", {"array": name}, float(name in running)


def array(md: Path, level: str, labels: dict[str, str]) -> Iterator[Sample]:
    states = [re.split(r"[,\s]+", read(path)) for path in md.glob("dev-*/state")]
    disks = number(read(md / "raid_disks"))
    missing = max(0, disks - sum("in_sync" in state and "faulty" not in state for state in states))
    yield "disks", labels, disks
    yield "disks_missing", labels, missing
    yield "disks_failed", labels, sum("faulty" in state for state in states)
    slots = [read(path.parent / "slot") for path in md.glob("dev-*/state") if "spare" in read(path)]
    yield "disks_spare", labels, slots.count("none")
    yield "disks_may_die", labels, MAY_DIE.get(level, lambda _: 0)(disks) - missing
    yield "mismatches", labels, number(read(md / "mismatch_cnt"))
    action = read(md / "sync_action")
    if action not in ("", "idle", "frozen"):
        done, _, todo = read(md / "sync_completed").partition(" / ")
        yield "sync", {**labels, "action": action}, 1
        ratio = number(done) / number(todo) if number(todo) else 0.0
        yield "sync_progress_ratio", {**labels, "action": action}, ratio


def text(found: list[Sample]) -> str:
    """Prometheus' text format; samples of one name stand together."""
    lines = []
    for name, help_text in HELP.items():
        of_it = [each for each in found if each[0] == name]
        if of_it:
            lines += [f"# HELP stronghold_md_{name} {help_text}", f"# TYPE stronghold_md_{name} gauge"]
        for _, labels, value in of_it:
            inside = ",".join(f'{key}="{label}"' for key, label in labels.items())
            lines.append(
                f"stronghold_md_{name}{{{inside}}} {value:.10g}"
                if inside
                else f"stronghold_md_{name} {value:.10g}"
            )
    return "".join(f"{line}\n" for line in lines)


def write(path: Path, content: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(content)
    draft.chmod(0o644)
    draft.replace(path)


def told(before: str, event: str, name: str, now: float) -> str:
    """The file of events with this one in it."""
    found = re.findall(r'^\S+{array="([^"]*)",event="([^"]*)"} (\S+)$', before, re.MULTILINE)
    seen = {(each, kind): float(at) for each, kind, at in found} | {(name, event): now}
    return text(
        [
            ("last_event_timestamp_seconds", {"array": each, "event": kind}, at)
            for (each, kind), at in sorted(seen.items())
        ]
    )


def main(arguments: list[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments:
        event, device, *parts = arguments
        name = names(LINKS).get(Path(device).resolve().name, Path(device).name)
        # The number is the journal's: 2 critical, 5 notice.
        print(f"<{2 if event in GRAVE else 5}>array {name} ({device}): {event} {' '.join(parts)}".rstrip())
        events = FOLDER / "stronghold_md_events.prom"
        write(events, told(read(events), event, name, time.time()))
    found = list(samples(BLOCK, LINKS, read(ARRAYS)))
    found.append(("collected_timestamp_seconds", {}, time.time()))
    write(FOLDER / "stronghold_md.prom", text(found))


if __name__ == "__main__":
    main(sys.argv[1:])

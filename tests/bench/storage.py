# SPDX-License-Identifier: GPL-3.0-or-later
"""What redundancy and encryption cost a tier, and what the hot tier saves.

One guest with four emulated disks, on which all variants stand side by side: one disk, RAID5 of md, LUKS2
on it with XTS and with GCM, raidz1 of ZFS plain and encrypted. What is compared takes turns within a round,
and a ratio is taken within each round, so that what else the machine does hits all alike.

The guest's CPU is emulated and its disks are files, so no number of it says how fast anything is. Two
things can be had: with each disk held to a few MB/s, the disks are what is waited for, as on a site with
slow ones, and a ratio shows what a layout makes of them; let go, the emulated CPU is what is waited for,
and a ratio shows the work that a layer adds to each byte, far above what it is where AES is done by the
CPU. What that one does is asked of this machine itself (openssl speed), as is the way of weights from the
cold bucket (storage_loading.py).
"""

from __future__ import annotations

import json
import shlex
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.stronghold.llm.plugins.module_utils.site.table import text_table
from ansible_collections.stronghold.llm.plugins.module_utils.storage import tuning

from lab import guests, qmp, zfs_module
from tests.bench import report, storage_loading

STATE = report.FOLDER / "guests"
GUEST = guests.Guest(
    "store1", 3072, tuple(guests.Disk(f"LABNVME{number:02}", "nvme", 1536) for number in range(4))
)
SLICE_MIB = 200
ARC = 64 * 2**20  # the least that ZFS takes for its cache: what is measured is more, and read from the disks
DISK_LIMIT = 16 * 10**6  # bytes per second of a disk that is held: well below what the emulated CPU moves
ROUNDS = 3
SECONDS = 2.0

DEFAULT = {"what": "md", "variant": "md", "stripe_cache_size": "256", "group_thread_cnt": "0"}
FLAGS = "no_read_workqueue no_write_workqueue"


@dataclass(frozen=True)
class Cell:
    """A variant that is asked, after a setting of it was turned."""

    name: str
    variant: str
    setting: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Cells that take turns at one kind of work; `ratios` are pairs of names. `held`: the disks are slow."""

    title: str
    work: str
    held: bool
    cells: tuple[Cell, ...]
    ratios: tuple[tuple[str, str], ...]


def comparisons(zfs: bool) -> Iterator[Comparison]:
    names = ["disk", "md", "xts", "gcm", *(["zfs", "zfs_gcm"] if zfs else [])]
    cells = tuple(Cell(name, name) for name in names)
    ratios = [("md", "disk"), ("xts", "md"), ("gcm", "md"), ("zfs", "disk"), ("zfs_gcm", "zfs")]
    known = tuple(pair for pair in ratios if set(pair) <= set(names))
    for held in (True, False):
        for work in ("read", "write"):
            yield Comparison("layers", work, held, cells, known)
    tuned = tuning.tuning(GUEST.memory * 2**20, cores=2, disks=len(GUEST.disks))
    ours = {name: str(getattr(tuned, name)) for name in ("stripe_cache_size", "group_thread_cnt")}
    md = (
        Cell("default", "md", DEFAULT),
        Cell("tuned", "md", DEFAULT | ours),
        Cell("two threads", "md", DEFAULT | ours | {"group_thread_cnt": "2"}),
        Cell("chunk of 64 KiB", "md_chunk64"),
    )
    against = tuple((cell.name, "default") for cell in md[1:])
    for held in (True, False):
        for work in ("write", "random_write"):
            yield Comparison("md", work, held, md, against)
    flags = (
        Cell("workqueues", "xts", {"what": "crypt", "variant": "xts", "flags": ""}),
        Cell("no workqueues", "xts", {"what": "crypt", "variant": "xts", "flags": FLAGS}),
    )
    for work in ("read", "random_read", "write"):
        yield Comparison("dm-crypt", work, False, flags, (("no workqueues", "workqueues"),))


class Asked:
    """tests/bench/storage_guest.py in the guest."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, do: str, **told: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **told}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it has ended"}
        if "error" in answer:
            raise SystemExit(f"The guest, asked to {do} {told}: {answer['error']}")
        return answer["is"]


@contextmanager
def asked() -> Iterator[Asked]:
    program = shlex.quote(Path(__file__).with_name("storage_guest.py").read_text())
    ssh = ["ssh", "-F", str(guests.SSH_CONFIG), GUEST.name, f"sudo python3 -c {program}"]
    with subprocess.Popen(ssh, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        yield Asked(process)
        process.stdin.close()


def hold(bytes_per_second: int) -> None:
    """Every disk to so many bytes per second; 0 lets it go."""
    none = dict.fromkeys(("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
    for disk in GUEST.disks:
        qmp.ask(GUEST.monitor, "block_set_io_throttle", id=disk.serial, bps=bytes_per_second, **none)


def compare(ask: Asked, comparison: Comparison) -> dict[str, Any]:
    hold(DISK_LIMIT if comparison.held else 0)
    speeds: dict[str, list[float]] = {cell.name: [] for cell in comparison.cells}
    for turn in range(ROUNDS):
        for place in range(len(comparison.cells)):  # each comes first, second … in its turn
            cell = comparison.cells[(turn + place) % len(comparison.cells)]
            if cell.setting:
                ask("set", **cell.setting)
            speeds[cell.name].append(ask("ask", variant=cell.variant, work=comparison.work, seconds=SECONDS))
    hold(0)
    return {
        "title": comparison.title,
        "work": comparison.work,
        "disks_held_to": DISK_LIMIT if comparison.held else None,
        **judged(speeds, comparison.ratios),
    }


def judged(speeds: Mapping[str, Sequence[float]], ratios: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Bytes per second of each cell, and each ratio, as median, least and most of the rounds."""
    return {
        "speeds": {name: spread(found) for name, found in speeds.items()},
        "ratios": {
            f"{one} / {other}": spread([a / b for a, b in zip(speeds[one], speeds[other], strict=True)])
            for one, other in ratios
        },
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def ciphers(ask: Asked) -> dict[str, dict[str, float]]:
    """Bytes per second of one core: this machine's own, and the guest's emulated one for comparison."""
    found: dict[str, dict[str, float]] = {"machine": {}, "guest": {}}
    for cipher in ("aes-256-xts", "aes-256-gcm"):
        command = ["openssl", "speed", "-mr", "-elapsed", "-seconds", "2", "-bytes", "4096", "-evp", cipher]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found["machine"][cipher] = speed(text)
        found["guest"][cipher] = speed(ask("run", command=command))
    return found


def speed(text: str) -> float:
    """From the machine-readable line of openssl speed: +F:22:AES-256-XTS:123.00"""
    (line,) = [line for line in text.splitlines() if line.startswith("+F:")]
    return float(line.rpartition(":")[2])


def rows(measured: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    for each in measured:
        for pair, ratio in each["ratios"].items():
            one, other = (each["speeds"][name]["median"] / 1e6 for name in pair.split(" / "))
            yield [
                each["title"],
                each["work"].replace("_", " "),
                "disks" if each["disks_held_to"] else "CPU",
                pair,
                f"{one:.1f} / {other:.1f}",
                f"{ratio['median']:.2f}",
                f"{ratio['least']:.2f} to {ratio['most']:.2f}",
            ]


def show(measured: Sequence[Mapping[str, Any]], loading: Mapping[str, Any], cpu: Mapping[str, Any]) -> None:
    header = ["", "work", "waits for", "what", "MB/s", "ratio", "spread"]
    print("", text_table(header, list(rows(measured))), sep="\n")
    one = {"title": "weights", "work": "", "disks_held_to": None, **loading}
    native = [row[:1] + row[3:] for row in rows([one])]
    print(
        "\nOn this machine itself:\n", text_table(["", "what", "MB/s", "ratio", "spread"], native), sep="\n"
    )
    for where, found in cpu.items():
        print(f"{where}: " + ", ".join(f"{name} {value / 1e9:.2f} GB/s" for name, value in found.items()))
    print("\nThe reference document's own claim for a load is 12 minutes to 90 seconds, 8.0.")


def main() -> None:
    guests.STATE, guests.SSH_CONFIG = STATE, STATE / "ssh_config"
    packages = zfs_module.built()
    if packages is None:
        print("ZFS is left out: it is not compiled for the guests' kernel (python -m lab.zfs_module)")
    loading = judged(
        storage_loading.measure(), [("cold to hot", "raw write"), ("load from hot", "load from cold")]
    )
    try:
        if packages:
            zfs_module.lay(GUEST, packages)
        guests.up([GUEST])
        if packages:
            # A most that is below the least is not taken, and not said to be so.
            GUEST.run("modprobe zfs")
            for limit, size in (("min", ARC // 2), ("max", ARC)):
                GUEST.run(f"echo {size} >/sys/module/zfs/parameters/zfs_arc_{limit}")
        with asked() as ask:
            disks = [f"/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_{disk.serial}" for disk in GUEST.disks]
            ask("make", disks=disks, slice_mib=SLICE_MIB, zfs=bool(packages))
            measured = []
            for comparison in comparisons(zfs=bool(packages)):
                what = "disks" if comparison.held else "CPU"
                print(f"{comparison.title}, {comparison.work}, {what} waited for", flush=True)
                measured.append(compare(ask, comparison))
            cpu = ciphers(ask)
    finally:
        guests.down([GUEST])
    show(measured, loading, cpu)
    report.keep("storage", {"comparisons": measured, "loading": loading, "ciphers": cpu})


if __name__ == "__main__":
    main()

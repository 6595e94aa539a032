# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of a key's budget AES-GCM has used; standard library only.

dm-crypt encrypts each 4096-byte sector of an AES-GCM volume under a random 96-bit nonce. With random nonces a
key may be used at most 2^32 times (NIST SP 800-38D, November 2007, section 8.3): beyond that, the chance that
two nonces are equal passes 2^-32, and two equal ones give away the key that authenticates. So sectors written
are counted.

The same file is run on the host by a timer:

    python3 write_budget.py CONFIG STATE METRICS
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

BUDGET = 2**32
SECTOR = 4096  # bytes of one encryption
STAT_SECTOR = 512  # bytes of one sector in /sys/block/*/stat, whatever the device's own sector is
LEAST_ALLOWANCE = 2**20  # sectors: 4 GiB
BLOCK = Path("/sys/class/block")
DAY = 86400  # seconds


@dataclass(frozen=True)
class Sample:
    """A volume at one moment. ``written`` is in sectors of SECTOR since the mapping was opened;
    ``activation``
    differs for each opening, so that a counter that begins anew is never taken for one that went on."""

    key: str
    activation: str
    written: int
    size: int  # sectors
    time: float  # seconds since 1970


@dataclass(frozen=True)
class Count:
    """What has been counted for one key. ``used`` never goes back; ``peak`` is the most of one interval."""

    key: str
    used: int
    wiped: int
    since: float
    activation: str
    written: int
    peak: int


def observe(count: Count | None, sample: Sample) -> Count:
    """The count after a sample.

    Formatting an authenticated volume writes each of its sectors once, to give it a valid tag: that counts.
    What was written between the last sample and the end of an activation is not known: twice the most ever
    seen in an interval is added for it, and never less than LEAST_ALLOWANCE.
    """
    if count is None or count.key != sample.key:
        used = sample.size + sample.written
        return Count(sample.key, used, sample.size, sample.time, sample.activation, sample.written, 0)
    if count.activation == sample.activation:
        step = max(0, sample.written - count.written)
        peak = max(count.peak, step)
        return replace(count, used=count.used + step, peak=peak, written=max(count.written, sample.written))
    allowance = max(2 * count.peak, LEAST_ALLOWANCE)
    used = count.used + allowance + sample.written
    return replace(count, used=used, activation=sample.activation, written=sample.written)


@dataclass(frozen=True)
class Budget:
    """``days_left`` at the rate since the count began; None while nothing has been written."""

    budget: int
    used: int
    share: float
    days_left: float | None


def budget(count: Count, now: float) -> Budget:
    written, days = count.used - count.wiped, (now - count.since) / DAY
    left = max(0, BUDGET - count.used)
    per_day = written / days if days > 0 else 0.0
    return Budget(BUDGET, count.used, count.used / BUDGET, left / per_day if per_day > 0 else None)


def too_large(name: str, cipher: str, size: int, share: float) -> str:
    """Why a tier of so many bytes cannot be AES-GCM, or nothing: its own making would use too much."""
    sectors, most = size // SECTOR, int(BUDGET * share)
    if cipher != "aes-256-gcm" or sectors <= most:
        return ""
    return (
        f"tier {name}: aes-256-gcm takes at most 2^32 sector writes for each key (NIST SP 800-38D, 8.3), and "
        f"writing each of its {size / 2**40:.1f} TiB once would use {sectors / BUDGET:.0%} of them, more "
        f"than the {share:.0%} allowed (disk_encryption_wipe_share; {most * SECTOR / 2**40:.1f} TiB): "
        "declare several smaller tiers, which have a key each, or aes-256-xts, or layout zfs, which changes "
        "keys by itself"
    )


# On the host ----------------------------------------------------------------------------------


def metrics(counts: Mapping[str, Count]) -> str:
    """Text for Prometheus' node exporter."""
    lines = ["# HELP stronghold_gcm_sector_writes Encryptions under the volume's present key, wipe included."]
    lines += ["# TYPE stronghold_gcm_sector_writes counter"]
    lines += [f'stronghold_gcm_sector_writes{{tier="{tier}"}} {count.used}' for tier, count in counts.items()]
    lines += ["# HELP stronghold_gcm_write_budget Encryptions that a key may be used for."]
    lines += ["# TYPE stronghold_gcm_write_budget gauge"]
    lines += [f'stronghold_gcm_write_budget{{tier="{tier}"}} {BUDGET}' for tier in counts]
    return "\n".join(lines) + "\n"


def read(path: Path) -> dict[str, Count]:
    if not path.exists():
        return {}
    return {tier: Count(**count) for tier, count in json.loads(path.read_text()).items()}


def key_of(metadata: str, uuid: str) -> str:
    """Names a volume key without saying anything of it: the header's salted digests of it, and the uuid."""
    digests = [each["digest"] for each in json.loads(metadata)["digests"].values()]
    return hashlib.sha256(json.dumps([uuid, digests]).encode()).hexdigest()[:16]


def sample(mapping: str) -> Sample | None:
    """None where the volume is not open: then nothing is written."""
    path = Path("/dev/mapper") / mapping
    if not path.exists():
        return None
    block = BLOCK / path.resolve().name
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    device = underneath(block)
    metadata = _cryptsetup("luksDump", "--dump-json-metadata", device)
    return Sample(
        key=key_of(metadata, _cryptsetup("luksUUID", device).strip()),
        activation=f"{boot}/{(block / 'diskseq').read_text().strip()}",
        written=-(-int((block / "stat").read_text().split()[6]) * STAT_SECTOR // SECTOR),
        size=int((block / "size").read_text()) * STAT_SECTOR // SECTOR,
        time=time.time(),
    )


def underneath(block: Path) -> str:
    """The device with the header, by what the kernel uses: an array may have come up under another name."""
    while block.name.startswith("dm-"):
        (below,) = (block / "slaves").iterdir()
        block = BLOCK / below.name
    return f"/dev/{block.name}"


def _cryptsetup(*arguments: str) -> str:
    command = ["cryptsetup", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def write(path: Path, text: str) -> None:
    """The whole file or the old one, also when the power fails."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(0o644)
    draft.replace(path)


def main(config: str, state: str, exported: str) -> None:
    """CONFIG: names of tiers, as JSON."""
    tiers, counts = json.loads(Path(config).read_text()), read(Path(state))
    for tier in tiers:
        if seen := sample(tier):
            counts[tier] = observe(counts.get(tier), seen)
    write(Path(state), json.dumps({tier: asdict(count) for tier, count in counts.items()}, indent=2) + "\n")
    write(Path(exported), metrics({tier: counts[tier] for tier in tiers if tier in counts}))


if __name__ == "__main__":
    main(*sys.argv[1:])

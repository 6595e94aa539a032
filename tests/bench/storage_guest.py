# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures storage inside a guest, where it is sent as text; standard library only, as root.

Every disk is cut into the same slices, one for each variant, so that all variants stand at once on the same
disks and are asked in turn. Reads lines of JSON on its standard input and answers each with a line:

    {"do": "make", "disks": […], "slice_mib": 200, "zfs": true}   makes the variants; their names
    {"do": "ask", "variant": …, "work": …, "seconds": 2}          bytes per second
    {"do": "set", "what": …, "variant": …, …}                     turns a setting of a variant that stands
    {"do": "run", "command": […]}                                 what a command prints
"""

import json
import subprocess
import sys
from pathlib import Path

SLICES = ("disk", "md", "md_chunk64", "xts", "gcm", "zfs", "zfs_gcm")
CHUNKS = {"md_chunk64": 64}
CIPHERS = {
    "xts": ["--cipher=aes-xts-plain64", "--key-size=512"],
    # Nothing can be read that was not written, as its tags come with the data: no wipe, but a first write.
    "gcm": ["--cipher=aes-gcm-random", "--key-size=256", "--integrity=aead", "--integrity-no-wipe"],
}
WORKS = {
    "read": ["--rw=read", "--bs=1M", "--iodepth=8"],
    "write": ["--rw=write", "--bs=1M", "--iodepth=8"],
    "random_read": ["--rw=randread", "--bs=4k", "--iodepth=16"],
    "random_write": ["--rw=randwrite", "--bs=4k", "--iodepth=16"],
}
FILE_MIB = 160  # of each variant; ZFS may cache 64 of them
KEY = "/run/bench.key"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def make(disks: list[str], slice_mib: int, zfs: bool) -> list[str]:
    sectors = slice_mib * 2048
    for number, name in enumerate(SLICES):
        parts = [f"/dev/mapper/{name}-{place}" for place in range(len(disks))]
        for part, disk in zip(parts, disks, strict=True):
            table = f"0 {sectors} linear {disk} {number * sectors}"
            run("dmsetup", "create", part.rpartition("/")[2], f"--table={table}")
        run("udevadm", "settle")  # it looks at each new device, and nobody else can have it then
        if name == "disk" or (name.startswith("zfs") and not zfs):
            continue
        if not name.startswith("zfs"):
            _array(name, parts)
        else:
            _pool(name, parts)
    made = [name for name in SLICES if zfs or not name.startswith("zfs")]
    for name in made:
        ask(name, "write", FILE_MIB)
    return made


def _array(name: str, parts: list[str]) -> None:
    device = f"/dev/md/{name}"
    kind = ["--run", "--level=5", f"--raid-devices={len(parts)}", f"--chunk={CHUNKS.get(name, 512)}"]
    run("mdadm", "--create", device, *kind, "--assume-clean", "--bitmap=internal", *parts)
    if name in CIPHERS:
        Path(KEY).write_text("0" * 64)
        cheap = ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--sector-size=4096"]
        luks = ["luksFormat", "--batch-mode", "--type=luks2", *CIPHERS[name], *cheap, device, KEY]
        run("cryptsetup", *luks)
        run("cryptsetup", "open", f"--key-file={KEY}", device, name)


def _pool(name: str, parts: list[str]) -> None:
    Path(KEY).write_text("0" * 64)
    values = {"recordsize": "1M", "compression": "off", "atime": "off", "mountpoint": f"/mnt/{name}"}
    if name == "zfs_gcm":
        values |= {"encryption": "aes-256-gcm", "keyformat": "hex", "keylocation": f"file://{KEY}"}
    options = [word for option, value in values.items() for word in ("-O", f"{option}={value}")]
    run("zpool", "create", "-o", "ashift=12", *options, name, "raidz1", *parts)


def _where(variant: str) -> list[str]:
    if variant.startswith("zfs"):
        # Through its cache, as it is used; it has 64 MiB, and what is read from end to end never hits it.
        return [f"--filename=/mnt/{variant}/file", "--ioengine=psync", "--fadvise_hint=0"]
    device = "/dev/mapper/disk-0" if variant == "disk" else f"/dev/md/{variant}"
    device = f"/dev/mapper/{variant}" if variant in CIPHERS else device
    return [f"--filename={device}", "--ioengine=libaio", "--direct=1"]


def ask(variant: str, work: str, mib: int = 0, seconds: float = 0) -> float:
    """Bytes per second; of a write, with the flush at its end. `mib` once, or `seconds` of it."""
    long = [f"--runtime={seconds}", "--time_based"] if seconds else [f"--io_size={mib}M"]
    common = [
        "--name=bench",
        "--output-format=json",
        f"--size={FILE_MIB}M",
        "--end_fsync=1",
        "--invalidate=1",
    ]
    told = run("fio", *common, *WORKS[work], *_where(variant), *long)
    job = json.loads(told[told.index("{") :])["jobs"][0]  # notes of fio's may stand before
    done = job["read"]["io_bytes"] + job["write"]["io_bytes"]
    return done / (job["job_runtime"] / 1000)


def tune(what: str, variant: str, **values: str) -> None:
    if what == "md":
        folder = Path("/sys/block") / Path(f"/dev/md/{variant}").resolve().name / "md"
        for name, value in values.items():
            (folder / name).write_text(value)
    else:
        flags = [f"--perf-{flag}" for flag in values.get("flags", "").split()]
        run("cryptsetup", "refresh", f"--key-file={KEY}", *flags, variant)


def answer(request: dict) -> object:
    match request.pop("do"):
        case "make":
            return make(**request)
        case "ask":
            return ask(**request)
        case "set":
            return tune(**request)
        case "run":
            return run(*request["command"])
    raise ValueError(request)


for line in sys.stdin:
    try:
        print(json.dumps({"is": answer(json.loads(line))}), flush=True)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        print(json.dumps({"error": str(error)}), flush=True)

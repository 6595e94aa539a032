# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m lab.guests up | down | status | shell | power-off | remove | add …

up [GUEST]                 boots what is not running, with the disks that it had
down [GUEST]               ends guests and forgets them and their disks; the cached image stays
status                     who runs, and on which port of the loopback its ssh answers
shell GUEST [COMMAND…]     a login, or one command as root
power-off GUEST            as a power cut does it; `up` boots it again with its disks as they are
remove GUEST SERIAL        pulls a disk out while the guest runs
add GUEST SERIAL [--new]   puts it in again; --new: another disk, empty, with that serial

Where a real kernel is needed (md, dm-crypt, NVMe, TPM), hosts are QEMU machines under software emulation:
they need no KVM and no rights over the machine's disks. The inventory of the scenario that they serve
declares them. They have no way out (user network, restricted) and are reached through one loopback port.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab import guest_image, qmp
from lab.processes import commands, send
from lab.site import REPOSITORY

INVENTORY = REPOSITORY / "molecule/storage/inventory/hosts.yml"
STATE = Path(os.environ.get("STRONGHOLD_GUESTS", REPOSITORY / "build/guests"))
SSH_CONFIG = STATE / "ssh_config"
BOOT_SECONDS = 300  # 25 on a quiet machine, minutes on a busy one
TANG = "/usr/libexec/tangd"


@dataclass(frozen=True)
class Disk:
    """kind: ``nvme`` or ``sas`` (a rotating disk); size in MiB; a spare part is not plugged in at first."""

    serial: str
    kind: str
    size: int
    spare_part: bool = False


@dataclass(frozen=True)
class Guest:
    name: str
    memory: int
    disks: tuple[Disk, ...]

    @property
    def folder(self) -> Path:
        return STATE / self.name

    @property
    def monitor(self) -> Path:
        return self.folder / "qmp.sock"

    @property
    def base(self) -> Path:
        """The image that it was laid on: a newer one does not open a guest that is there already."""
        command = ["qemu-img", "info", "--force-share", "--output=json", str(self.folder / "root.qcow2")]
        info = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return Path(info["full-backing-filename"]).parent

    def disk(self, serial: str) -> Disk:
        for disk in self.disks:
            if disk.serial == serial:
                return disk
        known = ", ".join(disk.serial for disk in self.disks)
        raise SystemExit(f"{self.name} has no disk {serial!r}: {known}")

    def image(self, serial: str) -> Path:
        """The raw bytes of a disk, as whoever carries it out of the building would read them."""
        return self.folder / "disks" / f"{serial}.raw"

    # What a test does with a machine ----------------------------------------------------------

    def run(
        self, command: str, *, check: bool = True, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """One shell command as root."""
        ssh = ["ssh", "-F", str(SSH_CONFIG), self.name, "sudo", "sh", "-c", shlex.quote(command)]
        done = subprocess.run(ssh, capture_output=True, text=True, check=False, timeout=timeout)
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {command}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def power_off(self) -> None:
        """As a power cut does it: what the guest had not flushed is gone."""
        if process := running().get(self.name):
            send(signal.SIGKILL, process)
            while self.name in running():
                time.sleep(0.05)

    def reboot(self) -> None:
        """In good order, and until ssh answers again."""
        before = self.run("cat /proc/sys/kernel/random/boot_id").stdout
        self.run("systemctl reboot", check=False)
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            time.sleep(1)
            try:
                again = self.run("cat /proc/sys/kernel/random/boot_id", check=False, timeout=20)
            except subprocess.TimeoutExpired:
                continue
            if again.returncode == 0 and again.stdout != before:
                return
        raise SystemExit(f"{self.name} did not come back: see {self.folder}/console.log")

    def remove(self, serial: str) -> None:
        qmp.remove_device(self.monitor, self.disk(serial).serial)

    def add(self, serial: str, *, new: bool = False) -> None:
        disk = self.disk(serial)
        if new:
            image = self.image(serial)
            image.unlink()
            _make_disk(self, disk)
            qmp.ask(self.monitor, "blockdev-del", **{"node-name": f"n-{serial}"})
            qmp.ask(self.monitor, "blockdev-add", **_node(self, disk))
        qmp.ask(self.monitor, "device_add", **_device(self, disk))


def load(inventory: Path = INVENTORY) -> tuple[Guest, ...]:
    hosts = yaml.safe_load(inventory.read_text())["all"]["children"]["storage"]["hosts"]
    return tuple(
        Guest(name, host["lab_memory_mib"], tuple(Disk(**disk) for disk in host["lab_disks"]))
        for name, host in hosts.items()
    )


def guest(name: str) -> Guest:
    guests = {each.name: each for each in load()}
    if name not in guests:
        raise SystemExit(f"{name!r} is no guest of {INVENTORY}: {', '.join(guests)}")
    return guests[name]


def running() -> dict[str, int]:
    """Guest -> process id of its QEMU, of this state folder only."""
    found = {}
    for process, command in commands():
        if "qemu-system" in command[0]:
            for word in command:
                if word.startswith(f"unix:{STATE}/") and word.endswith("/qmp.sock,server=on,wait=off"):
                    found[Path(word.removeprefix("unix:")).parent.name] = process
    return found


# Booting --------------------------------------------------------------------------------------


def up(guests: Sequence[Guest]) -> None:
    guest_image.need_tools()
    STATE.mkdir(parents=True, exist_ok=True)
    _recovery_identity()
    up_already = running()
    for each in guests:
        if each.name not in up_already:
            print(f"{each.name} is laid out and booted", flush=True)
            _lay(each)
            _boot(each)
    _write_ssh_config()
    deadline = time.monotonic() + BOOT_SECONDS
    for each in guests:
        _wait_for_ssh(each, deadline)
    print("Guests are up:", ", ".join(each.name for each in guests))


def _lay(each: Guest) -> None:
    """Root disk and disks of a guest that is new; one that was there keeps what it has."""
    (each.folder / "disks").mkdir(parents=True, exist_ok=True)
    root = each.folder / "root.qcow2"
    if not root.exists():
        image = guest_image.built() / "root.img"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image, root]
        subprocess.run(command, check=True)
    for disk in each.disks:
        if not each.image(disk.serial).exists():
            _make_disk(each, disk)


def _make_disk(each: Guest, disk: Disk) -> None:
    with each.image(disk.serial).open("wb") as file:
        file.truncate(disk.size * 2**20)


def _node(each: Guest, disk: Disk) -> dict[str, Any]:
    return {
        "driver": "raw",
        "node-name": f"n-{disk.serial}",
        "file": {"driver": "file", "filename": str(each.image(disk.serial)), "locking": "off"},
        # A flush need not wait for the machine's own disk: a lab's data ends with the lab.
        "cache": {"direct": False, "no-flush": True},
    }


def _device(each: Guest, disk: Disk) -> dict[str, Any]:
    device = {"id": disk.serial, "drive": f"n-{disk.serial}", "serial": disk.serial}
    if disk.kind == "sas":
        return {"driver": "scsi-hd", "bus": "sas.0", "rotation_rate": 7200, **device}
    return {"driver": "nvme", "bus": f"port-{disk.serial}", **device}


def _boot(each: Guest) -> None:
    image = each.base
    port = _free_port()
    (each.folder / "port").write_text(str(port))
    each.monitor.unlink(missing_ok=True)
    network = f"user,id=net,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:22"
    if Path(TANG).exists():
        # What it says of its work must not come between: both of its outputs lead to the guest.
        network += f",guestfwd=tcp:10.0.2.50:80-cmd:sh -c 'exec {TANG} {_tang_keys()} 2>/dev/null'"
    command = [
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max",
        "-m", f"{each.memory}M", "-smp", "2", "-nodefaults", "-display", "none",
        "-serial", f"file:{each.folder}/console.log", "-qmp", f"unix:{each.monitor},server=on,wait=off",
        "-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initrd.img",
        # The root by label: another disk may take its name.
        "-append", "root=LABEL=labroot rw console=ttyS0 mitigations=off net.ifnames=0 quiet",
        "-drive", f"file={each.folder}/root.qcow2,if=virtio,format=qcow2,cache=unsafe",
        "-netdev", network, "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
        *_tpm(each), "-device", "virtio-scsi-pci,id=sas",
    ]  # fmt: skip
    for number, disk in enumerate(each.disks, start=1):
        command += ["-blockdev", json.dumps(_node(each, disk))]
        if disk.kind == "nvme":
            place = {
                "driver": "pcie-root-port",
                "id": f"port-{disk.serial}",
                "chassis": number,
                "slot": number,
            }
            command += ["-device", json.dumps(place)]
        if not disk.spare_part:
            command += ["-device", json.dumps(_device(each, disk))]
    with (each.folder / "qemu.log").open("ab") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=each.folder
        )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _tpm(each: Guest) -> list[str]:
    """A TPM of software that lives as long as its guest's QEMU; its state survives, as a chip's does."""
    folder = each.folder / "tpm"
    folder.mkdir(exist_ok=True)
    where = folder / "control.sock"
    # The one of the last boot ends by itself, but for a guest that died before it asked it for anything.
    while old := [
        process for process, words in commands() if words[0] == "swtpm" and str(where) in words[-2]
    ]:
        send(signal.SIGTERM, *old)
        time.sleep(0.05)
    command = ["swtpm", "socket", "--tpm2", f"--tpmstate=dir={folder}", f"--log=file={folder}/log"]
    # The socket last: it tells whose chip a process is.
    subprocess.run([*command, "--terminate", "--daemon", f"--ctrl=type=unixio,path={where}"], check=True)
    return [
        "-chardev", f"socket,id=tpm,path={where}", "-tpmdev", "emulator,id=tpm0,chardev=tpm",
        "-device", "tpm-crb,tpmdev=tpm0",
    ]  # fmt: skip


def _tang_keys() -> Path:
    """Keys of a tang server, which guests reach at 10.0.2.50:80 and which is no guest's own."""
    folder = STATE / "tang"
    if not folder.exists():
        folder.mkdir(parents=True)
        subprocess.run(["/usr/libexec/tangd-keygen", str(folder)], check=True, capture_output=True)
    return folder


def _recovery_identity() -> None:
    """Whoever holds it can open the guests' disks without them; a site's lies in a safe."""
    identity, recipient = STATE / "recovery.age", STATE / "recipient"
    if not recipient.exists():
        identity.unlink(missing_ok=True)
        subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
        shown = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True)
        recipient.write_text(shown.stdout)


def _write_ssh_config() -> None:
    lines = []
    for each in load():
        port = each.folder / "port"
        if port.exists():
            lines += [
                f"Host {each.name}",
                "  HostName 127.0.0.1",
                f"  Port {port.read_text()}",
                f"  IdentityFile {each.base}/id_ed25519",
                f"  UserKnownHostsFile {each.base}/known_hosts",
            ]
    lines += [
        "Host *",
        "  HostKeyAlias guest",
        "  IdentitiesOnly yes",
        "  StrictHostKeyChecking yes",
        "  User ops",
        "  ConnectTimeout 10",
        "  ServerAliveInterval 10",
        "  LogLevel ERROR",
    ]
    SSH_CONFIG.write_text("\n".join(lines) + "\n")


def _wait_for_ssh(each: Guest, deadline: float) -> None:
    """Until a command runs: the user network takes connections before the guest is up."""
    while True:
        try:
            if each.run("systemctl is-system-running --wait", check=False, timeout=60).returncode in (0, 1):
                return
        except subprocess.TimeoutExpired:
            pass
        if each.name not in running():
            raise SystemExit(f"{each.name} has ended: {(each.folder / 'qemu.log').read_text()[-2000:]}")
        if time.monotonic() > deadline:
            raise SystemExit(
                f"{each.name} did not come up in {BOOT_SECONDS} s: see {each.folder}/console.log"
            )
        time.sleep(1)


def down(guests: Sequence[Guest]) -> None:
    for each in guests:
        each.power_off()
        if each.folder.exists():
            shutil.rmtree(each.folder)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["up"]:
            up(load())
        case ["up", name]:
            up([guest(name)])
        case ["down"]:
            down(load())
        case ["down", name]:
            down([guest(name)])
        case ["status"]:
            for each in load():
                port = each.folder / "port"
                state = f"up    127.0.0.1:{port.read_text()}" if each.name in running() else "down"
                print(f"{each.name:10} {state}")
        case ["shell", name]:
            os.execvp("ssh", ["ssh", "-F", str(SSH_CONFIG), "-t", guest(name).name, "sudo", "-i"])
        case ["shell", name, *command]:
            done = guest(name).run(" ".join(command), check=False)
            sys.stdout.write(done.stdout)
            sys.stderr.write(done.stderr)
            sys.exit(done.returncode)
        case ["power-off", name]:
            guest(name).power_off()
        case ["remove", name, serial]:
            guest(name).remove(serial)
        case ["add", name, serial]:
            guest(name).add(serial)
        case ["add", name, serial, "--new"]:
            guest(name).add(serial, new=True)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

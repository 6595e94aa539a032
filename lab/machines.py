# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's hosts: Debian 13 booted by systemd-nspawn, each an overlay on one cached base image.

A host is found again by its nspawn process, whose command line holds the folder of this clone: no file of
process ids can go stale, and nothing that another clone or the user runs is ever touched.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lab.network import inside
from lab.processes import children, commands, send
from lab.site import STATE, Host, Site

SUITE = "trixie"
# What an installer leaves on a server, and what docs/from-lab-to-racks.md asks of one.
PACKAGES = (
    "ca-certificates,dbus,iproute2,kmod,nftables,openssh-server,openssl,python3,python3-apt,rsync,"
    "sudo,systemd,systemd-sysv,iputils-ping"
)
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stronghold-llm"
BOOT_SECONDS = 90
HALT_SECONDS = 20

# What has to be in the image once, so that no host has to be changed before its first boot.
CUSTOMISE = (
    "useradd --create-home --shell /bin/bash ops",
    "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops",
    "systemctl enable systemd-networkd ssh.service",
    "systemctl mask systemd-networkd-wait-online.service systemd-resolved.service",
    "rm -f /etc/ssh/ssh_host_* /etc/machine-id /etc/resolv.conf",
)


def base_image() -> Path:
    """The cached root all hosts lie on; built once for each content of this file's lists."""
    recipe = "\n".join((SUITE, PACKAGES, *CUSTOMISE))
    image = CACHE / f"base-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if image.exists():
        return image
    print(f"Building the base image of the lab's hosts, once: {image}", flush=True)
    making = image.with_suffix(f".{os.getpid()}")
    CACHE.mkdir(parents=True, exist_ok=True)
    hooks = [f'--customize-hook=chroot "$1" sh -ec "{line}"' for line in CUSTOMISE]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *hooks, SUITE, str(making)],
        check=True,
    )
    making.rename(image)
    return image


def running() -> dict[str, int]:
    """Host name -> process id of its nspawn, of this clone's lab only."""
    found = {}
    for process, command in commands():
        if command[0].endswith("systemd-nspawn"):
            for word in command:
                if word.startswith(f"--directory={STATE}/hosts/"):
                    found[Path(word).parent.name] = process
    return found


def start(site: Site, image: Path, public_key: str) -> None:
    """Boot every host at once and wait until each one's ssh answers."""
    known = []
    for host in site.hosts:
        _lay_root(site, host, image, public_key)
        known.append(f"{host.name} {(host.root / 'etc/ssh/ssh_host_ed25519_key.pub').read_text().strip()}")
        _boot(site, host)
    (STATE / "ssh/known_hosts").write_text("\n".join(known) + "\n")
    deadline = time.monotonic() + BOOT_SECONDS
    for host in site.hosts:
        _wait_for_ssh(site, host, deadline)


def _lay_root(site: Site, host: Host, image: Path, public_key: str) -> None:
    layers = {name: host.folder / name for name in ("upper", "work", "root")}
    for layer in layers.values():
        layer.mkdir(parents=True)
    options = f"lowerdir={image},upperdir={layers['upper']},workdir={layers['work']}"
    subprocess.run(["mount", "-t", "overlay", "stronghold-lab", "-o", options, str(host.root)], check=True)
    _write(host.root / "etc/hostname", host.name)
    _write(host.root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {host.name}")
    _write(host.root / "etc/systemd/network/10-zone.network", _network_unit(site, host))
    keys = host.root / "home/ops/.ssh/authorized_keys"
    _write(keys, public_key)
    owner = (host.root / "home/ops").stat()
    for path in (keys.parent, keys):
        os.chown(path, owner.st_uid, owner.st_gid)
    host_key = host.root / "etc/ssh/ssh_host_ed25519_key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", host_key], check=True
    )


def _network_unit(site: Site, host: Host) -> str:
    """Address, and a route to each zone of the site. No default route: there is nothing else to reach."""
    ipv4, ipv6 = (router.ip for router in host.zone.router)
    lines = ["[Match]", "Name=host0", "", "[Network]", "LinkLocalAddressing=ipv6", "IPv6AcceptRA=no"]
    for address, prefix in ((host.ipv4, host.zone.ipv4), (host.ipv6, host.zone.ipv6)):
        lines += ["", "[Address]", f"Address={address}/{prefix.prefixlen}", "DuplicateAddressDetection=none"]
    for zone in site.zones:
        if zone != host.zone:
            lines += ["", "[Route]", f"Destination={zone.ipv4}", f"Gateway={ipv4}"]
            lines += ["", "[Route]", f"Destination={zone.ipv6}", f"Gateway={ipv6}"]
    return "\n".join(lines)


def make_key(path: Path, comment: str) -> None:
    """An ed25519 key pair; it lives as long as the lab does."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path], check=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\n") + "\n")


def _cgroup(site: Site, host: Host) -> Path:
    """A cgroup of the host's own, below ours, made here and remembered for `stop`.

    Without it nspawn leaves all hosts in one, where units of one name on two hosts share theirs: what one
    of them is denied is denied to both.
    """
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    root = next(Path(mount[1]) for mount in mounts if mount[2] == "cgroup2")
    own = Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
    cgroup = root / own / f"{site.namespace}-{host.name}"
    cgroup.mkdir(exist_ok=True)
    (host.folder / "cgroup").write_text(str(cgroup))
    return cgroup


def _boot(site: Site, host: Host) -> None:
    command = ["sh", "-ec", 'echo $$ >"$0/cgroup.procs"; exec "$@"', str(_cgroup(site, host)), *inside(site, [
        "systemd-nspawn", "--quiet", f"--directory={host.root}", f"--machine={site.namespace}-{host.name}",
        f"--hostname={host.name}", f"--network-bridge={host.zone.bridge}", "--boot", "--register=no",
        "--keep-unit", "--console=read-only", "--resolv-conf=off", "--timezone=off",
        "--system-call-filter=@keyring", "--system-call-filter=bpf", "--link-journal=no",
    ])]  # fmt: skip
    with (host.folder / "console.log").open("wb") as log:
        subprocess.Popen(
            command,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_for_ssh(site: Site, host: Host, deadline: float) -> None:
    """Until the banner is read: a port alone may be open before the server behind it is."""
    command = inside(site, ["nc", str(host.ipv4), "22"])
    while True:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as probe:
            assert probe.stdout
            banner = probe.stdout.read(4) if _readable(probe.stdout.fileno(), 2.0) else b""
            probe.kill()
        if banner == b"SSH-":
            return
        if time.monotonic() > deadline:
            raise SystemExit(
                f"{host.name} did not come up in {BOOT_SECONDS} s: see {host.folder}/console.log"
            )
        time.sleep(0.2)


def _readable(descriptor: int, seconds: float) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def stop() -> None:
    """Ask each host's init to halt, wait for all, kill what is left, then take the roots off."""
    asked = running()
    for nspawn in asked.values():
        send(signal.SIGRTMIN + 4, *children(nspawn))
    deadline = time.monotonic() + HALT_SECONDS
    while (left := running()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for nspawn in left.values():
        send(signal.SIGKILL, *children(nspawn), nspawn)
    for mount in _mounts():
        subprocess.run(["umount", "--lazy", str(mount)], check=False)
    for kept in STATE.glob("hosts/*/cgroup"):
        cgroup = Path(kept.read_text())
        for folder in (*sorted(cgroup.rglob("*/"), reverse=True), cgroup):
            with suppress(OSError):  # gone already, or something in it ends late
                folder.rmdir()


def _mounts() -> Iterable[Path]:
    """This clone's mounts, deepest first."""
    points = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return sorted((Path(point) for point in points if point.startswith(f"{STATE}/")), reverse=True)

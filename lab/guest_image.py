# SPDX-License-Identifier: GPL-3.0-or-later
"""The image that all guests boot: Debian 13 with its cloud kernel, built once and cached.

A folder of the cache: ``root.img`` (ext4, labelled labroot), ``vmlinuz``, ``initrd.img``, and the key that
opens the guests with the host key that they show: both are for whoever built the image, and nobody else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from lab.machines import CACHE, SUITE, make_key
from lab.requirements import GUESTS, missing_packages

# Guests have no network: what the roles install has to be there.
PACKAGES = (
    "age,ca-certificates,clevis,clevis-luks,clevis-systemd,clevis-tpm2,cryptsetup,curl,dbus,dosfstools,e2fsprogs,"
    "fdisk,fio,initramfs-tools,iproute2,kmod,linux-image-cloud-amd64,lvm2,mdadm,nftables,nvme-cli,openssh-server,"
    "openssl,python3,python3-apt,rsync,sudo,systemd,systemd-cryptsetup,systemd-sysv,tpm2-tools,udev,xfsprogs,zstd"
)
CUSTOMISE = (
    "useradd --create-home --shell /bin/bash ops",
    "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops",
    "printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=ipv4\\n' >/etc/systemd/network/10-user.network",
    "systemctl enable systemd-networkd ssh.service",
    "systemctl mask systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer fio.service",
    "echo guest >/etc/hostname; printf '127.0.0.1 localhost\\n127.0.1.1 guest\\n' >/etc/hosts",
    "rm -f /etc/machine-id /etc/resolv.conf",
    # Only what finds the root: every module more is a second of emulated decompression.
    "printf 'virtio_pci\\nvirtio_blk\\next4\\n' >>/etc/initramfs-tools/modules",
    "echo MODULES=list >/etc/initramfs-tools/conf.d/lab",
    "update-initramfs -u -k all",
)
ROOT_SIZE = "3G"


def need_tools() -> None:
    if missing := missing_packages(GUESTS):
        raise SystemExit(f"Guests need packages that are missing: apt-get install {' '.join(missing)}")


def built() -> Path:
    """The cached folder; built once for each content of this file's lists."""
    recipe = "\n".join((SUITE, PACKAGES, ROOT_SIZE, *CUSTOMISE))
    image = CACHE / f"guest-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if image.exists():
        return image
    print(f"Building the image of the lab's guests, once: {image}", flush=True)
    making = image.with_suffix(f".{os.getpid()}")
    root = making / "root"
    making.mkdir(parents=True, mode=0o700)
    hooks = [f'--customize-hook=chroot "$1" sh -ec "{line}"' for line in CUSTOMISE]
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={PACKAGES}",
        *hooks,
        SUITE,
        str(root),
    ]
    subprocess.run(command, check=True)
    _keys(making, root)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copyfile((root / "boot").glob(f"{name}-*").__next__(), making / name)
    label = ["mkfs.ext4", "-q", "-F", "-L", "labroot", "-O", "^has_journal", "-d", root]
    subprocess.run([*label, making / "root.img", ROOT_SIZE], check=True)
    shutil.rmtree(root)
    try:
        making.rename(image)
    except OSError:  # somebody else was faster, and theirs is as good
        if not image.exists():
            raise
        shutil.rmtree(making)
    return image


def _keys(making: Path, root: Path) -> None:
    make_key(making / "id_ed25519", comment="guests")
    login = root / "home/ops/.ssh/authorized_keys"
    login.parent.mkdir(mode=0o700)
    shutil.copyfile(making / "id_ed25519.pub", login)
    owner = (root / "home/ops").stat()
    for path in (login.parent, login):
        os.chown(path, owner.st_uid, owner.st_gid)
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    make_key(host_key, comment="guest")
    (making / "known_hosts").write_text(f"guest {host_key.with_suffix('.pub').read_text()}")

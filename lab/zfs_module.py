# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m lab.zfs_module: ZFS for the guests, whose kernel has none, compiled once and cached.

A folder of the cache with the packages that a guest installs: Debian's own tools, and stronghold-zfs-modules,
which is made here of what DKMS builds from zfs-dkms for the guests' kernel. It stays where it was built: what
comes of OpenZFS (CDDL) and Linux (GPL) together is not to be passed on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab import guest_image, guests
from lab.machines import CACHE, SUITE

TOOLS = ("zfsutils-linux", "zfs-zed", "libnvpair3linux", "libuutil3linux", "libzfs6linux", "libzpool6linux")
# A role that asks for the module asks for zfs-modules, as zfsutils-linux does.
CONTROL = """\
Package: stronghold-zfs-modules
Version: {version}
Architecture: amd64
Maintainer: The stronghold.llm maintainers <maintainers@stronghold.invalid>
Provides: zfs-modules
Description: OpenZFS for the kernel {kernel}, built on this site
"""


def kernel(image: Path) -> str:
    """The release of the kernel that guests boot, from its own header (Documentation/arch/x86/boot.rst)."""
    data = (image / "vmlinuz").read_bytes()
    text = data[int.from_bytes(data[0x20E:0x210], "little") + 0x200 :]
    return text[: text.index(b" ")].decode()


def folder() -> Path:
    """Where the packages are, or will be; the name says for which kernel."""
    return CACHE / f"zfs-{kernel(guest_image.built())}"


def built() -> Path | None:
    """The packages, if somebody has built them: a test does not wait for a compiler."""
    return folder() if folder().exists() else None


def build() -> Path:
    found = folder()
    if found.exists():
        return found
    print(f"Compiling ZFS for the guests, once, about ten minutes on two cores: {found}", flush=True)
    making = found.with_name(f"{found.name}.{os.getpid()}")
    root, release = making / "root", found.name.removeprefix("zfs-")
    making.mkdir(parents=True)
    include = f"linux-image-{release},linux-headers-{release},kmod,zfs-dkms"
    download = f"cd /srv && apt-get download -o APT::Sandbox::User=root {' '.join(TOOLS)}"
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--components=main contrib",
        f"--include={include}",
    ]
    hook = f'--customize-hook=chroot "$1" sh -ec "{download}"'
    with (making / "log").open("wb") as log:
        subprocess.run([*command, hook, SUITE, root], check=True, stdout=log, stderr=log)
    for package in (root / "srv").glob("*.deb"):
        shutil.move(package, making)
    _modules(root, release, making)
    shutil.rmtree(root)
    making.rename(found)
    return found


def _modules(root: Path, release: str, where: Path) -> None:
    query = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Version}", "zfs-dkms"]
    version = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    modules = Path("lib/modules") / release / "updates/dkms"
    if not (root / modules).exists():
        raise SystemExit(f"DKMS has built no module for {release}: see {where}/log")
    tree = where / "tree"
    shutil.copytree(root / modules, tree / "usr" / modules)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(CONTROL.format(version=version, kernel=release))
    script = tree / "DEBIAN/postinst"
    script.write_text(f"#!/bin/sh\nexec depmod {release}\n")
    script.chmod(0o755)
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", tree, where], check=True, capture_output=True
    )
    shutil.rmtree(tree)


def image(packages: Path) -> Path:
    """The guests' image with ZFS in it, cached beside the plain one."""
    plain = guest_image.built()
    found = plain.with_name(f"{plain.name}-{packages.name}")
    if found.exists():
        return found
    making = found.with_name(f"{found.name}.{os.getpid()}")
    root = making / "root"
    root.mkdir(parents=True)
    making.chmod(0o700)  # the key that opens the guests is in it
    subprocess.run(["cp", "--sparse=always", *plain.iterdir(), making], check=True)
    subprocess.run(["mount", "-o", "loop", making / "root.img", root], check=True)
    try:
        shutil.copytree(packages, root / "srv/zfs")
        # A guest boots the initrd beside its image: nobody would read another.
        quiet = (
            "sed -i s/^update_initramfs=.*/update_initramfs=no/ /etc/initramfs-tools/update-initramfs.conf"
        )
        script = f"{quiet}; dpkg --install /srv/zfs/*.deb; rm -r /srv/zfs"
        subprocess.run(["chroot", root, "sh", "-ec", script], check=True, capture_output=True)
    finally:
        subprocess.run(["umount", root], check=True)
    root.rmdir()
    making.rename(found)
    return found


def lay(guest: guests.Guest, packages: Path) -> None:
    """The root disk of a guest that has none yet, with ZFS in it; `guests.up` leaves it as it is."""
    disk = guest.folder / "root.qcow2"
    if not disk.exists():
        guest.folder.mkdir(parents=True, exist_ok=True)
        backed = ["-f", "qcow2", "-F", "raw", "-b", image(packages) / "root.img"]
        subprocess.run(["qemu-img", "create", "-q", *backed, disk], check=True)


if __name__ == "__main__":
    print(build())

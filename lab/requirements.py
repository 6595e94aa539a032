# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine under the lab must have; run with any Python 3, before the virtual environment exists.

    python3 lab/requirements.py [--install] [--guests]

Everything that is missing is said at once, nothing is changed before that. Packages can be had from the
machine's own package source, so with ``--install`` they are installed and only named. With
``--guests`` it is also about what the QEMU guests of the tests need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# Package -> a file that it brings: looked up without asking dpkg, so the check also reads well elsewhere.
PACKAGES = {
    "apt-utils": "/usr/bin/apt-ftparchive",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "gnupg": "/usr/bin/gpg",
    "gpgv": "/usr/bin/gpgv",
    "iproute2": "/usr/sbin/ip /sbin/ip /usr/bin/ip",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "netcat-openbsd": "/usr/bin/nc.openbsd /bin/nc.openbsd",
    "nftables": "/usr/sbin/nft",
    "openssh-client": "/usr/bin/ssh",
    "python3-venv": "/usr/share/doc/python3-venv",
    "rsync": "/usr/bin/rsync",
    "systemd-container": "/usr/bin/systemd-nspawn",
}
# What QEMU guests need beyond that (lab/guests.py); the tests boot one, the demo none.
GUESTS = {
    "age": "/usr/bin/age",
    "e2fsprogs": "/usr/sbin/mkfs.ext4 /sbin/mkfs.ext4",
    "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
    "qemu-utils": "/usr/bin/qemu-img",
    "swtpm": "/usr/bin/swtpm",
}
MEMORY_GIB = 4  # six hosts of 60 MiB each, and the model's 1 GiB with its cache
PATH_LENGTH = 70  # a Unix socket's path ends at 107 characters; ssh and gpg keep theirs below the clone
DISK_GIB = 10  # virtual environment 1.2, images 1, bundle 1, hosts' overlays 2, a guest's disks 3


def missing_packages(packages: dict[str, str] = PACKAGES) -> list[str]:
    return [
        name for name, files in packages.items() if not any(Path(file).exists() for file in files.split())
    ]


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _overlay_mounts(folder: Path) -> bool:
    """An overlay may not lie on every file system (not on another overlay, say): only a try can tell."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        layers = {layer: Path(name) / layer for layer in ("lower", "upper", "work", "merged")}
        for layer in layers.values():
            layer.mkdir()
        options = "lowerdir={lower},upperdir={upper},workdir={work}".format(**layers)
        if not _works("mount", "-t", "overlay", "overlay", "-o", options, str(layers["merged"])):
            return False
        return _works("umount", str(layers["merged"]))


def problems(repository: Path = REPOSITORY) -> Iterator[str]:
    """Each thing that no package can mend, with its remedy."""
    if sys.version_info < (3, 11):  # noqa: UP036  the one place where an older Python gets to speak
        yield f"Python {sys.version_info[0]}.{sys.version_info[1]} is older than 3.11: use Debian 12 or newer"
    if not shutil.which("apt-get"):
        yield "apt-get is not here: the lab and the bundle need a Debian or Ubuntu machine"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    if memory < MEMORY_GIB:
        yield f"{memory:.1f} GiB of memory, the lab needs {MEMORY_GIB}: give the machine more"
    free = shutil.disk_usage(repository).free / 2**30
    if free < DISK_GIB:
        yield f"{free:.1f} GiB free below {repository}, the lab needs {DISK_GIB}: free some"
    if len(str(repository)) > PATH_LENGTH:
        yield f"{repository} is too long for sockets below it, {PATH_LENGTH} characters: clone elsewhere"
    if os.geteuid() != 0:
        yield f"user id {os.geteuid()} is not root, who alone may boot hosts: use sudo"
        return  # the checks below need root to tell the truth
    if not _works("unshare", "--net", "true"):
        yield "the kernel refuses a network namespace: use a machine or VM, not a container"
    if not _overlay_mounts(repository):
        yield f"no overlay mounts below {repository}: clone to a plain ext4 or xfs file system"


def main() -> int:
    found = list(problems())
    packages = missing_packages(PACKAGES | GUESTS if "--guests" in sys.argv else PACKAGES)
    if packages and "--install" not in sys.argv:
        found.append(f"packages are missing: apt-get install {' '.join(packages)}")
    if found:
        print("This machine cannot run the lab yet:", *found, sep="\n  - ", file=sys.stderr)
        return 1
    if packages:
        print(f"Installing host packages: {' '.join(packages)}", flush=True)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "-qq", *command], env=quiet, check=False, capture_output=True, text=True
            )
            if done.returncode:
                print(f"apt-get {command[0]} failed:\n{done.stderr}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

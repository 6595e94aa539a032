# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host's facts come from: the host itself, or a folder that was recorded on it.

A recording is a file for each command, named after it (`recording_name`), `sysfs.txt` with what was read
below /sys and /proc, and `unread.txt` with what could not be read.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Collection, Iterable
from glob import escape, glob
from pathlib import Path
from shutil import which
from subprocess import DEVNULL, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO, Protocol

from ansible_collections.stronghold.llm.plugins.module_utils.topology import sysfs
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import TopologyError

Command = tuple[str, ...]

SYSFS, UNREAD = "sysfs.txt", "unread.txt"
SUFFIXES = (".txt", ".xml", ".json")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/rocm/bin"


class Source(Protocol):
    unread: list[str]
    """What could not be read, and why; begins with the command."""

    def run(self, command: Command) -> str | None:
        """What the command printed; None if there is no such command, or it said nothing."""

    def where(self, what: Command | str) -> str:
        """How errors name a command's text, or a file below /sys or /proc."""

    def read(self, path: str) -> str | None:
        """A file below /sys or /proc, without its last line end; of `config` the bytes in hex."""

    def glob(self, pattern: str) -> list[str]:
        """Files that there are, in order; a `*` also stands for slashes."""

    def recordings(self) -> dict[str, str]:
        """File name -> text of all that was read: `Recorded` reads the same from it."""


def recording_name(command: Command) -> str:
    """("nvidia-smi", "topo", "-m") -> nvidia-smi-topo-m.txt"""
    suffix = ".xml" if "-x" in command else ".json" if "--json" in command else ".txt"
    return re.sub(r"[^A-Za-z0-9]+", "-", " ".join(command)).strip("-") + suffix


def failed(source: Source, command: Command) -> bool:
    """Whether the command said that something went wrong, though it may have printed something."""
    return any(line.startswith(f"{' '.join(command)}: ") for line in source.unread)


class _Running:
    """A command at work, and what it prints: into files, as its children would hold a pipe open."""

    process: Popen[bytes]

    def __init__(self) -> None:
        self.out, self.error = TemporaryFile(), TemporaryFile()  # noqa: SIM115

    def close(self) -> None:
        self.out.close()
        self.error.close()


class Live:
    """This host. All commands are started at once, and answers are waited for when they are asked for."""

    def __init__(self, commands: Iterable[Command] = (), root: str = "/", timeout: float = 60.0) -> None:
        self.unread: list[str] = []
        self._root = os.path.realpath(root).rstrip("/")
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._outputs: dict[Command, str | None] = {}
        self._running = {command: self._start(command) for command in commands}
        self._texts = self._read_all()

    def run(self, command: Command) -> str | None:
        if command not in self._outputs:
            running = self._running.pop(command) if command in self._running else self._start(command)
            self._outputs[command] = self._finish(command, running) if running else None
        return self._outputs[command]

    def where(self, what: Command | str) -> str:
        return what if isinstance(what, str) else " ".join(what)

    def read(self, path: str) -> str | None:
        name = path.rpartition("/")[2]
        if name in sysfs.BINARY and path not in self._texts:
            with contextlib.suppress(OSError):
                data = Path(self._root + path).read_bytes().rstrip(b"\0")
                # Of the vital product data only what is text: no bytes that are no text get into a recording.
                text = data.hex() if name == "config" else re.sub(r"[^ -~]+", " ", data.decode("latin-1"))
                self._texts[path] = text.strip()
        return self._texts.get(path)

    def glob(self, pattern: str) -> list[str]:
        return sysfs.matching(self._texts, pattern)

    def recordings(self) -> dict[str, str]:
        found = {recording_name(command): text for command, text in self._outputs.items() if text is not None}
        if self.unread:
            found[UNREAD] = "".join(f"{line}\n" for line in self.unread)
        return {**found, SYSFS: sysfs.written(self._texts)}

    def _start(self, command: Command) -> _Running | None:
        path = os.pathsep.join(filter(None, (os.environ.get("PATH"), PATH)))
        program = which(command[0], path=path)
        if program is None:
            return None
        running = _Running()
        try:
            running.process = Popen(
                command,
                executable=program,
                stdin=DEVNULL,
                stdout=running.out,
                stderr=running.error,
                env={**os.environ, "LC_ALL": "C", "LANGUAGE": "C", "PATH": path},
                start_new_session=True,
            )
        except OSError as error:
            running.close()
            self.unread.append(f"{' '.join(command)}: it cannot be run: {error.strerror}")
            return None
        return running

    def _finish(self, command: Command, running: _Running) -> str | None:
        with contextlib.closing(running):
            try:
                status = running.process.wait(max(0.0, self._deadline - time.monotonic()))
            except TimeoutExpired:
                # It is not waited for: what hangs inside the driver does not even end when it is killed.
                with contextlib.suppress(OSError):
                    os.killpg(running.process.pid, signal.SIGKILL)
                self.unread.append(f"{' '.join(command)}: no answer within {self._timeout:g} s")
                return None
            printed, said = _text(running.out), _text(running.error)
        if status:
            lines = [line.strip() for line in (said + printed).splitlines() if line.strip()]
            self.unread.append(f"{' '.join(command)}: exit status {status}: {(*lines, 'nothing said')[0]}")
        return printed if printed.strip() or not status else None

    def _read_all(self) -> dict[str, str]:
        patterns = [escape(self._root) + pattern for pattern in sysfs.FILES]
        for device in _glob(f"{escape(self._root)}/sys/bus/pci/devices/*"):
            patterns += [f"{escape(os.path.realpath(device))}/{name}" for name in sysfs.PCI_FILES]
        found = {}
        for path in (path for pattern in patterns for path in _glob(pattern)):
            with contextlib.suppress(OSError):
                text = Path(path).read_text(encoding="utf-8", errors="replace").strip("\n")
                if text := sysfs.kept(path.rpartition("/")[2], text):
                    found[path.removeprefix(self._root)] = text
        return found


class Recorded:
    """A folder of recordings."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        if not self._folder.is_dir():
            raise TopologyError(
                f"{folder}: there is no such folder of recordings: record the host with "
                "playbooks/record_facts.yml, or by hand as docs/topology.md says"
            )
        self.unread = (self._file(UNREAD) or "").splitlines()
        self._texts = sysfs.parse(self._file(SYSFS) or "", str(self._folder / SYSFS))

    def run(self, command: Command) -> str | None:
        return self._file(Path(self.where(command)).name)

    def where(self, what: Command | str) -> str:
        if isinstance(what, str):
            return f"{self._folder / SYSFS}: {what}"
        name = self._folder / recording_name(what)
        others = (name.with_suffix(suffix) for suffix in SUFFIXES)
        return str(next((path for path in (name, *others) if path.is_file()), name))

    def read(self, path: str) -> str | None:
        return self._texts.get(path)

    def glob(self, pattern: str) -> list[str]:
        return sysfs.matching(self._texts, pattern)

    def recordings(self) -> dict[str, str]:
        names = [path.name for path in sorted(self._folder.iterdir()) if path.suffix in SUFFIXES]
        return {name: self._file(name) or "" for name in names}

    def strays(self, commands: Collection[Command]) -> list[str]:
        """Files that begin like a command, and have the name of none that is asked for."""
        known = {Path(self.where(command)).name for command in commands}
        tools = tuple({f"{command[0]}{end}" for command in commands for end in "-."})
        return [name for name in self.recordings() if name.startswith(tools) and name not in known]

    def _file(self, name: str) -> str | None:
        path = self._folder / name
        try:
            return path.read_text(encoding="utf-8-sig", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TopologyError(f"{path}: it cannot be read: {error.strerror}") from error


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _glob(pattern: str) -> list[str]:
    return sorted(glob(pattern))  # noqa: PTH207

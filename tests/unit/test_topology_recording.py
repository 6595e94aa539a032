# SPDX-License-Identifier: GPL-3.0-or-later
"""A tool that hangs, fails or is missing costs a sentence, not the run; a recording is what the host said."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import sysfs
from ansible_collections.stronghold.llm.plugins.module_utils.topology.collect import (
    CAPABILITIES,
    COMMANDS,
    collect,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import TopologyError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import (
    Live,
    Recorded,
    failed,
    recording_name,
)

from tests.unit.host_tree import BRIDGE, GPU, HostTree

MATRIX = "\tGPU0\tCPU Affinity\tNUMA Affinity\nGPU0\t X \t0-15\t0\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostTree:
    tree = HostTree(tmp_path)
    monkeypatch.setenv("PATH", f"{tree.commands}:/usr/bin:/bin")
    return tree


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("nvidia-smi", "topo", "-m"), "nvidia-smi-topo-m.txt"),
        (("nvidia-smi", "-q", "-x"), "nvidia-smi-q-x.xml"),
        (("amd-smi", "static", "--json"), "amd-smi-static-json.json"),
        (CAPABILITIES, "nvidia-smi-query-gpu-index-pci-bus-id-compute-cap-format-csv-noheader.txt"),
    ],
)
def test_a_recording_is_named_after_its_command(command: tuple[str, ...], name: str) -> None:
    assert recording_name(command) == name


def test_no_two_commands_share_a_recording() -> None:
    assert len({recording_name(command) for command in COMMANDS}) == len(COMMANDS)


def test_a_command_that_hangs_is_named_and_does_not_hold_the_others(tree: HostTree) -> None:
    tree.command("nvidia-smi", 'case "$1" in -L) sleep 30; echo late;; *) echo "$1";; esac')
    began = time.monotonic()
    live = Live([("nvidia-smi", "-L"), ("nvidia-smi", "-q")], root=str(tree.root), timeout=0.5)
    assert live.run(("nvidia-smi", "-L")) is None
    assert live.run(("nvidia-smi", "-q")) == "-q\n"
    assert time.monotonic() - began < 5
    assert live.unread == ["nvidia-smi -L: no answer within 0.5 s"]


def test_what_a_hanging_command_started_is_ended_with_it(tree: HostTree) -> None:
    tree.command("hang", f"sleep 30 & echo $! > {tree.root}/child; wait")
    live = Live([("hang",)], root=str(tree.root), timeout=0.5)
    assert live.run(("hang",)) is None
    child = int((tree.root / "child").read_text())
    deadline = time.monotonic() + 5
    while _alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(child)


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_all_commands_run_at_the_same_time(tree: HostTree) -> None:
    """Each waits until all three have begun, which one after the other they never would."""
    tree.command(
        "meet", f"touch {tree.root}/$1; while [ $(ls {tree.root} | grep -c came) -lt 3 ]; do sleep 0.05; done"
    )
    commands = [("meet", f"came{number}") for number in range(3)]
    live = Live(commands, root=str(tree.root), timeout=10)
    assert [live.run(command) for command in commands] == ["", "", ""]
    assert live.unread == []


def test_a_command_that_is_not_there_is_nothing_to_speak_of(tree: HostTree) -> None:
    live = Live([("amd-smi", "list", "--json")], root=str(tree.root))
    assert live.run(("amd-smi", "list", "--json")) is None
    assert live.unread == []


def test_a_folder_of_the_path_that_is_closed_to_us_hides_no_more_than_itself(
    tree: HostTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a user whose PATH is still root's; a file in place of a folder is closed to root too."""
    (tree.root / "closed").write_text("")
    monkeypatch.setenv("PATH", f"{tree.root}/closed:{tree.commands}:/usr/bin:/bin")
    tree.command("nvidia-smi", "echo here")
    live = Live([("nvidia-smi",), ("amd-smi",)], root=str(tree.root))
    assert (live.run(("nvidia-smi",)), live.run(("amd-smi",)), live.unread) == ("here\n", None, [])


def test_a_command_that_cannot_be_run_is_named(tree: HostTree) -> None:
    tree.command("nvidia-smi", "echo")
    (tree.commands / "nvidia-smi").write_bytes(b"\x7fELF of another machine")
    live = Live([("nvidia-smi",)], root=str(tree.root))
    assert live.run(("nvidia-smi",)) is None
    assert live.unread == ["nvidia-smi: it cannot be run: Exec format error"]


def test_a_command_that_fails_is_named_with_its_first_words(tree: HostTree) -> None:
    tree.command("amd-smi", 'echo; echo "driver not loaded" >&2; echo "more" >&2; exit 3')
    live = Live([("amd-smi", "static")], root=str(tree.root))
    assert live.run(("amd-smi", "static")) is None
    assert live.unread == ["amd-smi static: exit status 3: driver not loaded"]
    assert failed(live, ("amd-smi", "static"))
    assert not failed(live, ("amd-smi",))


def test_what_a_failing_command_printed_is_kept(tree: HostTree) -> None:
    """nvidia-smi answers in full, and then ends with 14 because an infoROM is corrupted."""
    tree.command("nvidia-smi", f"printf '{MATRIX}'; exit 14".replace("\t", "\\t").replace("\n", "\\n"))
    live = Live([("nvidia-smi", "topo", "-m")], root=str(tree.root))
    assert live.run(("nvidia-smi", "topo", "-m")) == MATRIX
    assert len(live.unread) == 1


def test_commands_are_asked_in_english(tree: HostTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    tree.command("speak", 'echo "$LC_ALL $LANGUAGE"')
    assert Live([("speak",)], root=str(tree.root)).run(("speak",)) == "C C\n"


def test_bytes_that_are_no_text_stop_nothing(tree: HostTree) -> None:
    tree.command("speak", r"printf 'a\377b'")
    assert Live([("speak",)], root=str(tree.root)).run(("speak",)) == "a\ufffdb"


def test_a_recorded_host_is_the_host(tree: HostTree, tmp_path: Path) -> None:
    """Also with a command that fails, a bridge whose ACS redirects, and an empty list of processors."""
    tree.command(
        "nvidia-smi",
        'case "$*" in "topo -m") printf "\\tGPU0\\tCPU Affinity\\nGPU0\\t X \\t0-1\\n";;'
        ' *) echo "Failed to initialize NVML: Unknown Error"; exit 255;; esac',
    )
    config = bytearray(4096)
    config[0x100:0x108] = (0x000D | 1 << 16).to_bytes(4, "little") + bytes([0, 0, 0b0100, 0])
    port = tree.device("pci0000:00/0000:00:01.0", BRIDGE)
    switch = tree.device("pci0000:00/0000:00:01.0/0000:01:00.0", BRIDGE)
    tree.device("pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0", GPU, current_link_speed="16.0 GT/s PCIe")
    tree.file(f"{port}/config", bytes(config))
    tree.file(f"{switch}/config", bytes(config))
    tree.file("/sys/devices/system/node/node0/cpulist", "0-1")
    tree.file("/sys/devices/system/node/node1/cpulist", "")
    tree.file("/sys/devices/system/node/node1/meminfo", "Node 1 MemFree: 1 kB\nNode 1 MemTotal:  2048 kB")
    live = Live(COMMANDS, root=str(tree.root))
    seen = collect("here", live)
    folder = tmp_path / "facts"
    folder.mkdir()
    for name, text in live.recordings().items():
        (folder / name).write_text(text)
    assert collect("here", Recorded(folder)) == seen
    assert seen.acs_redirect == ("0000:01:00.0",)
    assert [node.cpus for node in seen.numa] == ["0-1", ""]
    assert any("Failed to initialize NVML" in line for line in seen.unread)
    assert Recorded(folder).recordings() == live.recordings()
    assert len(live.recordings()["sysfs.txt"]) < 4096  # the zeros that end a configuration space are left out


def test_the_kernels_command_line_is_recorded_without_what_is_nobodys_business(tree: HostTree) -> None:
    tree.file("/proc/cmdline", "root=/dev/sda rd.token=hunter2 iommu=pt intel_iommu=on")
    assert Live(root=str(tree.root)).read("/proc/cmdline") == "iommu=pt intel_iommu=on"


def test_flags_of_256_processors_are_recorded_once(tree: HostTree) -> None:
    one = "processor\t: {0}\nflags\t\t: fpu avx2\nmicrocode\t: 0x1\nphysical id\t: 0\ncore id\t\t: {0}\n"
    tree.file("/proc/cpuinfo", "\n".join(one.format(number) for number in range(256)))
    text = Live(root=str(tree.root)).recordings()["sysfs.txt"]
    assert text.count("flags") == 1
    assert text.count("processor") == 256
    assert "microcode" not in text


def test_a_line_is_cut_after_the_file_not_inside_the_pci_address() -> None:
    gpu = "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"
    switch = "/proc/driver/nvidia-nvswitch/devices/0000:C6:00.0/information"
    text = f"{gpu}/vendor:0x10de\n/proc/cpuinfo:model name\t: a: b/class:c\n{switch}:Fabric: up\n"
    assert sysfs.parse(text, "sysfs.txt") == {
        switch: "Fabric: up",
        f"{gpu}/vendor": "0x10de",
        "/proc/cpuinfo": "model name\t: a: b/class:c",
    }


def test_lines_of_other_files_and_words_of_grep_are_passed_over() -> None:
    text = "/sys/class/net/eth0/mtu:1500\nBinary file /sys/x matches\ngrep: /sys/y: No such device\n\n"
    assert sysfs.parse(text, "sysfs.txt") == {}


def test_a_line_without_a_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "sysfs.txt").write_text("/proc/cpuinfo:processor : 0\n0x10de\n")
    with pytest.raises(TopologyError, match=r"sysfs\.txt: line 2: '0x10de' is not path:content"):
        Recorded(tmp_path)


@pytest.mark.parametrize("suffix", [".txt", ".xml", ".json"])
def test_a_recording_may_have_any_of_the_three_suffixes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"nvidia-smi-q-x{suffix}"
    path.write_text("said")
    recorded = Recorded(tmp_path)
    assert recorded.run(("nvidia-smi", "-q", "-x")) == "said"
    assert recorded.where(("nvidia-smi", "-q", "-x")) == str(path)


def test_a_folder_that_is_not_there_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        TopologyError, match=r"gpu9: there is no such folder of recordings.*record_facts\.yml"
    ):
        Recorded(tmp_path / "gpu9")


def test_a_misspelt_recording_is_named_and_what_is_not_asked_for_is_not(tmp_path: Path) -> None:
    for name in ("nvidia-smi-topo.txt", "ibstat-v.txt", "lspci.txt", "notes.txt"):
        (tmp_path / name).write_text(MATRIX)
    wrong = "it has the name of no command that is asked for here"
    unread = collect("h", Recorded(tmp_path)).unread
    assert unread == (f"ibstat-v.txt: {wrong}", f"nvidia-smi-topo.txt: {wrong}")


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "sysfs.txt").mkdir()
    with pytest.raises(TopologyError, match=r"sysfs\.txt: it cannot be read: Is a directory"):
        Recorded(tmp_path)

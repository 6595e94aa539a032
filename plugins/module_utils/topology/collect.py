# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's topology, put together from all that the host, or a recording of it, says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ansible_collections.stronghold.llm.plugins.module_utils.topology import (
    amd,
    amd_links,
    amd_smi,
    host,
    infiniband,
    nvidia,
    nvidia_list,
    nvidia_nvlink,
    nvidia_topo,
    nvidia_xml,
    pci,
    rocm_smi,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import (
    Gpu,
    NumaNode,
    Pcie,
    Topology,
    TopologyError,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import DriverFailure
from ansible_collections.stronghold.llm.plugins.module_utils.topology.pci import Device, least
from ansible_collections.stronghold.llm.plugins.module_utils.topology.recording import (
    Command,
    Recorded,
    Source,
    failed,
)

LOG: Command = tuple(nvidia.XML.split())
MATRIX: Command = tuple(nvidia.MATRIX.split())
NVLINK: Command = tuple(nvidia.NVLINK.split())
LIST: Command = tuple(nvidia.LIST.split())
CAPABILITIES: Command = tuple(nvidia.COMPUTE_CAP.split())

COMMANDS: tuple[Command, ...] = (
    LOG, MATRIX, NVLINK, LIST, CAPABILITIES,
    amd_smi.STATIC, amd_smi.LIST, amd_smi.METRIC, amd_links.TOPOLOGY, amd_smi.VERSION,
    rocm_smi.CARDS, rocm_smi.TOPOLOGY,
)  # fmt: skip

NVSWITCHES: Command = ("ls", "/proc/driver/nvidia-nvswitch/devices")
# Of a live host /sys and /proc say it.
RECORDED_ONLY: tuple[Command, ...] = (host.LSCPU, NVSWITCHES, infiniband.IBSTAT, infiniband.IBSTATUS)
SILENT = (NVLINK, NVSWITCHES)
"""Commands that print nothing where there is nothing."""

ROCM = "/opt/rocm/.info/version"
VENDORS = {"NVIDIA": pci.NVIDIA, "AMD": pci.AMD}

Said = TypeVar("Said")


class _Asking:
    """Commands asked and answers parsed; what a command says in place of an answer is kept in `notes`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.notes: list[str] = []

    def said(self, command: Command, parse: Callable[[str, str], Said | None]) -> Said | None:
        text = self.source.run(command)
        if text is None:
            return None
        if not text.strip() and command not in SILENT:
            self.notes.append(f"{self.source.where(command)}: nothing was printed")
            return None
        try:
            return parse(text, self.source.where(command))
        except DriverFailure as error:
            if not failed(self.source, command):
                self.notes.append(str(error))
        except TopologyError:
            if not failed(self.source, command):
                raise
        return None

    def recorded(self, command: Command, parse: Callable[[str, str], Said | None]) -> Said | None:
        return self.said(command, parse) if isinstance(self.source, Recorded) else None


def collect(name: str, source: Source) -> Topology:
    """The topology of the host of this name.

    Raises:
        TopologyError: something was printed that is not what it should be; names command or file, and line.
    """
    ask = _Asking(source)
    bus = pci.devices(source)
    module, version = host.nvidia_module(source)
    cpu, numa = ask.recorded(host.LSCPU, host.lscpu) or (None, ())
    cpu, numa = host.cpu(source) or cpu, host.numa(source) or numa
    ours, theirs = _nvidia(ask), _amd(ask, bus)
    rocm = (source.read(ROCM) or "").split("-")[0] or ask.said(amd_smi.VERSION, amd_smi.rocm)
    if ours.gpus and theirs.gpus:
        ask.notes.append(
            f"AMD's {len(theirs.gpus)} GPUs stand beside NVIDIA's, which are planned with; they are left out"
        )
    chosen = ours if ours.gpus or not theirs.gpus else theirs
    gpus = tuple(_with_bus(gpu, bus, numa) for gpu in chosen.gpus)
    ports = infiniband.ports(source)
    for command in (infiniband.IBSTAT, infiniband.IBSTATUS):
        ports = ports or ask.recorded(command, infiniband.parse) or {}
    to_switches = infiniband.switch_ports(source, ports, bus)
    nics = [nic for nic in ours.nics if nic.name not in to_switches]
    switches = ask.recorded(NVSWITCHES, _addresses) or []
    redirect, hidden = pci.acs_redirect(source, bus)
    strays = source.strays((*COMMANDS, *RECORDED_ONLY)) if isinstance(source, Recorded) else []
    ask.notes += [*ours.unread, *theirs.unread, *_unspoken(bus, gpus), *([hidden] if hidden else [])]
    ask.notes += [f"{stray}: it has the name of no command that is asked for here" for stray in strays]
    return Topology(
        host=name,
        gpus=gpus,
        links=chosen.links,
        nics=infiniband.merge(nics, {key: ports[key] for key in ports if key not in to_switches}, gpus, bus),
        numa=numa,
        cpu=cpu,
        nvswitches=tuple(sorted({*switches, *_nvswitches(source, bus), *to_switches.values()})),
        driver=ours.driver or version or theirs.driver,
        cuda=ours.cuda,
        kernel_module=module,
        rocm=rocm,
        kernel=host.kernel(source),
        iommu=pci.iommu(source, bus),
        acs_redirect=redirect,
        board=_on_board(bus, gpus),
        unread=(*source.unread, *ask.notes),
    )


def _nvidia(ask: _Asking) -> nvidia.Parts:
    return nvidia.assemble(
        log=ask.said(LOG, nvidia_xml.parse),
        matrix=ask.said(MATRIX, nvidia_topo.parse),
        nvlinks=ask.said(NVLINK, nvidia_nvlink.parse),
        capabilities=ask.said(CAPABILITIES, nvidia.compute_capabilities),
        listed=ask.said(LIST, nvidia_list.parse),
    )


def _amd(ask: _Asking, bus: Mapping[str, Device]) -> amd.Parts:
    said = ask.said
    static, listed = said(amd_smi.STATIC, amd_smi.gpus), said(amd_smi.LIST, amd_smi.listed)
    metrics, pairs = said(amd_smi.METRIC, amd_smi.metrics), said(amd_links.TOPOLOGY, amd_links.pairs)
    if static is None and listed is None and pairs is None:
        cards, tables = said(rocm_smi.CARDS, rocm_smi.cards), said(rocm_smi.TOPOLOGY, rocm_smi.tables)
        return amd.assemble(cards=cards, tables=tables, bus=bus)
    return amd.assemble(static=static, listed=listed, metrics=metrics, pairs=pairs, bus=bus)


def _with_bus(gpu: Gpu, bus: Mapping[str, Device], numa: Sequence[NumaNode]) -> Gpu:
    """With what the tool did not say and the PCI bus does."""
    # A partition of AMD's has the address of its GPU, with the partition's number in place of the function.
    device = bus.get(gpu.pci or "") or bus.get(f"{(gpu.pci or '')[:-1]}0")
    if device is None:
        return gpu
    if gpu.vendor == "amd" and gpu.mig is None and device.partition:
        whole = device.partition == amd_smi.WHOLE
        gpu = replace(gpu, mig=not whole, mig_instances=() if whole else (device.partition,))
    link, seen = gpu.pcie, pci.pcie(device, bus)
    node = gpu.numa_node if gpu.numa_node is not None else device.numa_node
    return replace(
        gpu,
        numa_node=node,
        cpu_affinity=gpu.cpu_affinity
        or next((each.cpus for each in numa if each.index == node), None)
        or None,
        pcie=Pcie(
            generation=link.generation or seen.generation,
            width=link.width or seen.width,
            generation_max=least(link.generation_max, seen.generation_max),
            width_max=least(link.width_max, seen.width_max),
        ),
    )


def _on_board(bus: Mapping[str, Device], gpus: Sequence[Gpu]) -> tuple[str, ...] | None:
    """Of the vendor whose GPUs they are: a processor's own graphics count for nothing beside cards."""
    vendors = {VENDORS[gpu.vendor.upper()] for gpu in gpus} or set(VENDORS.values())
    held = (address for address, device in bus.items() if device.is_gpu and device.vendor in vendors)
    return tuple(sorted(held)) if bus else None


def _unspoken(bus: Mapping[str, Device], gpus: Sequence[Gpu]) -> list[str]:
    notes = []
    for vendor, number in VENDORS.items():
        count = sum(1 for device in bus.values() if device.is_gpu and device.vendor == number)
        if count and not gpus:
            them = "GPUs on the bus, and no driver speaks for them"
            it = "GPU on the bus, and no driver speaks for it"
            notes.append(f"{count} {vendor} {them if count > 1 else it}")
    return notes


def _nvswitches(source: Source, bus: Mapping[str, Device]) -> set[str]:
    kind = (pci.NVIDIA, pci.NVSWITCH_CLASS)
    seen = {device.address for device in bus.values() if (device.vendor, device.kind) == kind}
    places = source.glob(f"{NVSWITCHES[1]}/*")
    return seen | {name for path in places if pci.ADDRESS.fullmatch(name := path.split("/")[5].lower())}


def _addresses(text: str, where: str) -> list[str]:
    words = text.lower().split()
    for word in words:
        if not pci.ADDRESS.fullmatch(word):
            raise TopologyError(f"{where}: {word!r} is no PCI address")
    return words

# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards as their drivers name them, and what a rank can count on when it has one.

A card has three sizes of memory: what it is sold with (GB), what `nvidia-smi` or `amd-smi` reports (MiB), and
what the engine's framework sees as total (GiB), from which it takes its share. NVIDIA's driver keeps some of
the reported memory for itself (`FB Memory Usage: Reserved` of `nvidia-smi -q`), AMD's does not.

Bandwidth and watts are the vendor's, from the document that `source` names. Where figures of several drivers
were seen, the smallest stands here: a plan that holds with less holds with more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from ansible_collections.stronghold.llm.plugins.module_utils.planning.model import Device
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Topology, Vendor

RESERVED_SHARE = 0.03
"""Of reported memory, what the framework does not see where nobody has said more: the largest share seen, a
T4's (15,360 MiB reported, total capacity of 14.56 GiB)."""

MIG_GIB_PER_GB = 0.88
"""GiB that a MIG instance has, for each GB in its profile's name, at the least: 1g.18gb of an H200 has
16.00 GiB (`nvidia-smi mig -lgip`), the smallest ratio of those profiles."""

_WORDS_OF_VENDORS = re.compile(r"^((NVIDIA|AMD|Tesla|GeForce|Instinct)\s+)*", re.IGNORECASE)
_MIG = re.compile(r"\d+g\.(\d+)gb")

# How the framework's total came to be known.
_MESSAGE = "total capacity in torch's out-of-memory messages, public logs searched on 2026-11-25"
_RULE = f"reported memory less {RESERVED_SHARE:.0%}, a rule of ours: no log was found"
_SAME_BOARD = "that of the card with the same board and memory"
_REPORTED = f"all that the driver reports ({_MESSAGE})"

# Documents of the vendors.
_A10 = "NVIDIA A10 datasheet, 2021-03"
_A10G = "AWS EC2 G5 instances page, 2021-11, and the limit that nvidia-smi prints"
_A30 = "NVIDIA A30 datasheet, 2021-03"
_A40 = "NVIDIA A40 datasheet, 2021-10"
_A100 = "NVIDIA A100 datasheet, 2021-06"
_A800 = "NVIDIA A800 datasheet, 2022-11: an A100 with 8 NVLinks"
_H100 = "NVIDIA H100 datasheet, 2023-07"
_H800 = "NVIDIA H800 datasheet, 2023-03: an H100 with 8 NVLinks"
_H20 = "NVIDIA H20 datasheet, 2023-11"
_H200 = "NVIDIA H200 datasheet, 2024-11"
_GH200 = "NVIDIA GH200 Grace Hopper Superchip datasheet, 2024-02; watts of the whole module"
_B200 = "NVIDIA Blackwell datasheet, 2024-11"
_B300 = "NVIDIA HGX platform page, 2025-08, and the limit that nvidia-smi prints"
_GB200 = "NVIDIA GB200 NVL72 page, 2024-11"
_GB300 = "NVIDIA GB300 NVL72 page, 2025-08, and the limit that nvidia-smi prints"
_L4 = "NVIDIA L4 datasheet, 2023-03"
_L40 = "NVIDIA L40 datasheet, 2023-01"
_L40S = "NVIDIA L40S datasheet, 2023-10"
_T4 = "NVIDIA T4 datasheet, 2019-03"
_V100 = "NVIDIA V100 datasheet, 2020-01"
_P100 = "NVIDIA Tesla P100 datasheet, 2016-10"
_GEFORCE = "NVIDIA GeForce product pages, 2025-01"
_RTX = "NVIDIA RTX A6000 and RTX 6000 Ada datasheets, 2021-01 and 2023-05"
_RTX_PRO = "NVIDIA RTX PRO 6000 Blackwell datasheets, 2025-04"
_MI200 = "AMD Instinct MI200 series data sheets, 2022-03; half a package is one GCD"
_MI300 = "AMD Instinct MI300X and MI325X data sheets, 2023-12 and 2024-10"
_MI308 = "AMD Instinct MI308X: an MI300X with fewer compute units, ROCm GPU specifications page, 2025"
_MI350 = "AMD Instinct MI350X and MI355X data sheets, 2025-06"


@dataclass(frozen=True)
class Card:
    """A model of card. `pattern` is for the driver's name without NVIDIA, Tesla, GeForce, AMD and Instinct;
    `links` is how many NVLinks it can have, 0 for AMD, whose tools count none.
    """

    name: str
    pattern: str
    memory_gb: int
    reported_mib: int
    usable_gib: float
    bandwidth_gb_s: float
    power_w: float
    capability: str
    source: str
    seen: str
    """Where `usable_gib` is from."""
    links: int = 0
    data_centre: bool = True
    vendor: Vendor = "nvidia"
    matches: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", re.compile(self.pattern, re.IGNORECASE))


def _unseen(reported_mib: int) -> float:
    return round(reported_mib * (1 - RESERVED_SHARE) / 1024, 2)


def _amd(name: str, pattern: str, gb: int, mib: int, gb_s: float, watt: float, gfx: str, source: str) -> Card:
    return Card(name, pattern, gb, mib, mib / 1024, gb_s, watt, gfx, source, _REPORTED, vendor="amd")


_P100_MIB, _GH200_144_MIB = 16384, 146831

CARDS: tuple[Card, ...] = (
    # name, pattern, GB, MiB reported, GiB usable, GB/s, W, capability, source, source of usable
    Card("P100 PCIe", r"P100-PCIE-16GB", 16, _P100_MIB, _unseen(_P100_MIB), 732, 250, "6.0", _P100, _RULE),
    Card("P100 SXM2", r"P100-SXM2-16GB", 16, _P100_MIB, _unseen(_P100_MIB), 732, 300, "6.0", _P100, _RULE, 4),
    Card("V100 16GB PCIe", r"V100-(PCIE|FHHL)-16GB", 16, 16384, 15.77, 900, 250, "7.0", _V100, _MESSAGE),
    Card("V100 16GB SXM2", r"V100-SXM2-16GB", 16, 16384, 15.77, 900, 300, "7.0", _V100, _MESSAGE, 6),
    Card("V100 32GB PCIe", r"V100-PCIE-32GB", 32, 32768, 31.73, 900, 250, "7.0", _V100, _MESSAGE),
    Card("V100S", r"V100S-PCIE-32GB", 32, 32768, 31.73, 1134, 250, "7.0", _V100, _SAME_BOARD),
    Card("V100 32GB SXM", r"V100-(SXM[23]|DGXS)-32GB.*", 32, 32768, 31.73, 900, 300, "7.0", _V100, _MESSAGE,
         6),
    Card("T4", r"T4", 16, 15360, 14.56, 320, 70, "7.5", _T4, _MESSAGE),
    Card("A10", r"A10", 24, 23028, 22.06, 600, 150, "8.6", _A10, _MESSAGE),
    Card("A10G", r"A10G", 24, 23028, 22.06, 600, 300, "8.6", _A10G, _MESSAGE),
    Card("A30", r"A30", 24, 24576, 23.53, 933, 165, "8.0", _A30, "github.com/google/RB-Modulation/issues/5",
         4),
    Card("A40", r"A40", 48, 46068, 44.34, 696, 300, "8.6", _A40, _MESSAGE, 4),
    Card("A100 40GB PCIe", r"A100-PCI-?E-40GB", 40, 40960, 39.38, 1555, 250, "8.0", _A100, _MESSAGE, 12),
    Card("A100 40GB SXM4", r"A100-SXM4?-40GB", 40, 40960, 39.38, 1555, 400, "8.0", _A100, _MESSAGE, 12),
    Card("A100 80GB PCIe", r"A100[ -](80GB PCIe|PCI-?E-80GB)", 80, 81920, 79.14, 1935, 300, "8.0", _A100,
         "github.com/lianqi1008/Control-GIC/issues/6", 12),
    Card("A100 80GB SXM4", r"A100-SXM4?-80GB", 80, 81920, 79.14, 2039, 400, "8.0", _A100, _MESSAGE, 12),
    Card("A800 40GB Active", r"A800 40GB Active", 40, 40960, 39.38, 1555, 240, "8.0", _A800, _SAME_BOARD, 8,
         data_centre=False),
    Card("A800 80GB PCIe", r"A800 80GB PCIe", 80, 81920, 79.14, 1935, 300, "8.0", _A800, _SAME_BOARD, 8),
    Card("A800 80GB SXM4", r"A800-SXM4-80GB", 80, 81920, 79.14, 2039, 400, "8.0", _A800, _SAME_BOARD, 8),
    Card("H100 PCIe", r"H100 PCIe", 80, 81559, 79.11, 2039, 350, "9.0", _H100, _SAME_BOARD, 12),
    Card("H100 SXM", r"H100 80GB HBM3", 80, 81559, 79.11, 3352, 700, "9.0", _H100,
         "github.com/vllm-project/vllm/issues/27508", 18),
    Card("H100 NVL", r"H100 NVL", 94, 95830, 93.02, 3938, 400, "9.0", _H100,
         "github.com/vllm-project/vllm/issues/16712", 12),
    Card("H800 PCIe", r"H800 PCIe", 80, 81559, 79.11, 2039, 350, "9.0", _H800, _SAME_BOARD, 8),
    Card("H800 SXM", r"H800", 80, 81559, 79.11, 3352, 700, "9.0", _H800, _SAME_BOARD, 8),
    Card("H20", r"H20", 96, 97871, 95.00, 4000, 400, "9.0", _H20, _MESSAGE, 18),
    Card("H20-3e", r"H20-3e", 141, 143771, 139.72, 4800, 400, "9.0", _H20, _SAME_BOARD, 18),
    Card("H200 SXM", r"H200", 141, 143771, 139.72, 4800, 700, "9.0", _H200, _MESSAGE, 18),
    Card("H200 NVL", r"H200 NVL", 141, 143771, 139.72, 4800, 600, "9.0", _H200, _MESSAGE, 18),
    Card("GH200 96GB", r"GH200 (480|120)GB", 96, 97871, 94.50, 4000, 900, "9.0", _GH200, _MESSAGE, 18),
    Card("GH200 144GB", r"GH200 144G HBM3e", 144, _GH200_144_MIB, _unseen(_GH200_144_MIB), 4900, 900, "9.0",
         _GH200, _RULE, 18),
    Card("B200", r"B200", 180, 183359, 178.35, 8000, 1000, "10.0", _B200, _MESSAGE, 18),
    Card("B300", r"B300( SXM6 AC)?", 288, 275040, 267.69, 8000, 1100, "10.3", _B300, _MESSAGE, 18),
    Card("GB200", r"GB200", 186, 189471, 184.31, 8000, 1200, "10.0", _GB200, _MESSAGE, 18),
    Card("GB300", r"GB300", 288, 284208, 276.50, 8000, 1400, "10.3", _GB300, _MESSAGE, 18),
    Card("L4", r"L4", 24, 23034, 22.03, 300, 72, "8.9", _L4, _MESSAGE),
    Card("L40", r"L40", 48, 46068, 44.39, 864, 300, "8.9", _L40, _SAME_BOARD),
    Card("L40S", r"L40S", 48, 46068, 44.39, 864, 350, "8.9", _L40S, _MESSAGE),
    Card("RTX 3090", r"RTX 3090", 24, 24576, 23.58, 936, 350, "8.6", _GEFORCE,
         "github.com/vllm-project/vllm/issues/10517", 4, data_centre=False),
    Card("RTX 4090", r"RTX 4090", 24, 24564, 23.52, 1008, 450, "8.9", _GEFORCE, _MESSAGE, data_centre=False),
    Card("RTX 5090", r"RTX 5090", 32, 32607, 31.36, 1792, 575, "12.0", _GEFORCE, _MESSAGE, data_centre=False),
    Card("RTX A6000", r"RTX A6000", 48, 49140, 47.40, 768, 300, "8.6", _RTX, _MESSAGE, 4, data_centre=False),
    Card("RTX 6000 Ada", r"RTX 6000 Ada Generation", 48, 49140, 47.27, 960, 300, "8.9", _RTX, _MESSAGE,
         data_centre=False),
    Card("RTX PRO 6000 Server", r"RTX PRO 6000 Blackwell Server Edition",
         96, 97887, 94.97, 1597, 600, "12.0", _RTX_PRO, _MESSAGE),
    Card("RTX PRO 6000 Workstation", r"RTX PRO 6000 Blackwell Workstation Edition",
         96, 97887, 94.97, 1792, 600, "12.0", _RTX_PRO, _MESSAGE, data_centre=False),
    Card("RTX PRO 6000 Max-Q", r"RTX PRO 6000 Blackwell Max-Q Workstation Edition",
         96, 97887, 94.97, 1792, 300, "12.0", _RTX_PRO, _MESSAGE, data_centre=False),
    _amd("MI210", r"MI210", 64, 65520, 1638, 300, "gfx90a", _MI200),
    _amd("MI250X or MI250", r"MI250X?( ?/ ?MI250)?", 64, 65520, 1638, 280, "gfx90a", _MI200),
    _amd("MI300X", r"MI300X.*", 192, 196288, 5300, 750, "gfx942", _MI300),
    _amd("MI308X", r"MI308X.*", 192, 196288, 5300, 650, "gfx942", _MI308),
    _amd("MI325X", r"MI325X.*", 256, 262128, 6000, 1000, "gfx942", _MI300),
    _amd("MI350X", r"MI350X.*", 288, 294896, 8000, 1000, "gfx950", _MI350),
    _amd("MI355X", r"MI355X.*", 288, 294896, 8000, 1400, "gfx950", _MI350),
)  # fmt: skip


@lru_cache(maxsize=1024)
def card(name: str) -> Card | None:
    """The card of this name, as the driver says it; None where the table has none."""
    bare = _WORDS_OF_VENDORS.sub("", name.partition(" MIG ")[0].strip())
    return next((known for known in CARDS if known.matches.fullmatch(bare)), None)


def device(gpu: Gpu) -> Device | None:
    """What a rank has in this GPU; of a GPU with MIG on, in its largest instance.

    What the driver reports goes before the table: a card with less memory than its kind (a share of a
    virtualised one) has less, a lowered power limit is the limit. A card that the table does not hold has the
    memory that it reports and no bandwidth. None: it has nothing that a rank could use, or nobody says what.
    """
    known = card(gpu.name)
    if gpu.mig:
        return _mig_device(gpu, known)
    usable = _usable_gib(gpu, known)
    if usable is None:
        return None
    return Device(
        name=gpu.name,
        vendor=gpu.vendor,
        usable_gib=usable,
        bandwidth_gb_s=known.bandwidth_gb_s if known else None,
        power_w=gpu.power_limit_w or (known.power_w if known else None),
        capability=gpu.compute_capability or (known.capability if known else None),
        source=f"{known.source}; memory: {known.seen}" if known else "the driver; not in the table of cards",
    )


def _usable_gib(gpu: Gpu, known: Card | None) -> float | None:
    if gpu.memory_mib is None:
        return known.usable_gib if known else None
    if known and abs(gpu.memory_mib - known.reported_mib) <= RESERVED_SHARE * known.reported_mib:
        # Drivers up to 470 report what is left after their own share, which is then all there is.
        return min(known.usable_gib, gpu.memory_mib / 1024)
    return gpu.memory_mib / 1024 * (1 if gpu.vendor == "amd" else 1 - RESERVED_SHARE)


def _mig_device(gpu: Gpu, known: Card | None) -> Device | None:
    sizes = [(int(found[1]), profile) for profile in gpu.mig_instances if (found := _MIG.search(profile))]
    if not sizes:
        return None
    gigabytes, profile = max(sizes)
    # An instance has the bandwidth of its memory slices, and nobody's word on its watts.
    bandwidth = known.bandwidth_gb_s * gigabytes / known.memory_gb if known else None
    return Device(
        name=f"{gpu.name} MIG {profile}",
        vendor=gpu.vendor,
        usable_gib=gigabytes * MIG_GIB_PER_GB,
        bandwidth_gb_s=bandwidth,
        capability=gpu.compute_capability or (known.capability if known else None),
        source="the profile's name: its GB in GiB at the least, bandwidth in proportion",
    )


def cpu_device(topology: Topology) -> Device | None:
    """A host's memory and processors as one rank; None where nobody says how much memory it has.

    Bandwidth and watts depend on modules and boards, which nothing here reads.
    """
    cpu = topology.cpu
    if cpu is None or not cpu.memory_mib:
        return None
    return Device(cpu.name, "cpu", cpu.memory_mib / 1024, source="the host's own memory")


def computes_fp8(device: Device) -> bool:
    """Whether activations can be FP8 too (W8A8); elsewhere FP8 weights are widened before each product.

    Source: vLLM documentation, "FP8 W8A8": compute capability 8.9 and newer, AMD MI300 and newer (2026-11).
    """
    if device.vendor == "amd":
        return (device.capability or "").startswith(("gfx94", "gfx95", "gfx12"))
    if device.vendor == "cpu" or device.capability is None:
        return False
    major, _, minor = device.capability.partition(".")
    return (int(major), int(minor or 0)) >= (8, 9)

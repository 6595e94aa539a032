# SPDX-License-Identifier: GPL-3.0-or-later
"""`nvidia-smi -q -x`: what each GPU is and how it fares, in every schema since nvsmi_device_v10.

What the driver does not know it says in many ways, all of which are None here; what it says *instead* of an
answer ("GPU is lost", "[Unknown Error]") is kept in a sentence, for such a GPU is in the list and of no use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Pcie, TopologyError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import (
    NO_NAME,
    at,
    pci_address,
    refuse,
)

LIMIT = 16 * 2**20
"""Characters. Eight GPUs take half a million, and each process on them 300 more."""
END = "</nvidia_smi_log>"
# The document names its DTD and needs nothing of it: entities would come from elsewhere, or fill the memory.
FORBIDDEN = re.compile(r"<!ENTITY|<!DOCTYPE[^<>\[]*\[")

DEPRECATED = "Requested functionality has been deprecated"
NOTHING = frozenset({"", "N/A", "Not Supported", "Not Available", "Insufficient Permissions", DEPRECATED})
TROUBLE = re.compile(r"\[?(unknown error|gpu is lost|gpu requires reset|err!)\]?", re.IGNORECASE)


@dataclass(frozen=True)
class Log:
    """`mig_counts` is how many MIG instances each GPU has: the XML does not say of which profile. `notes` are
    sentences of the driver, or about what it did not say.
    """

    driver: str | None
    cuda: str | None
    gpus: tuple[Gpu, ...]
    mig_counts: tuple[int, ...]
    notes: tuple[str, ...] = ()


def parse(text: str, where: str) -> Log:
    """
    Raises:
        DriverFailure: nvidia-smi answered that it could not ask the driver.
        TopologyError: no log, cut off, or a value of another kind; says line and column, or GPU and field.
    """
    root, around = _root(text, where)
    elements = root.findall("gpu")
    notes = [f"{where} also said: {line.strip()}" for line in around if line.strip()]
    attached = _number(root, "attached_gpus", "", where)
    if attached is not None and attached != len(elements):
        notes.append(f"{where}: the driver has {attached:.0f} GPUs attached, and describes {len(elements)}")
    gpus = []
    for index, element in enumerate(elements):
        place = f"{where}: GPU {index} ({element.get('id', 'no address')})"
        gpus.append(_gpu(index, element, place))
        if said := next(_troubles(element), None):
            notes.append(f"{place}: the driver says {said[1]!r} of its {said[0]}: reset the GPU or the host")
    counts = tuple(len(element.findall("mig_devices/mig_device")) for element in elements)
    return Log(_text(root, "driver_version"), _text(root, "cuda_version"), tuple(gpus), counts, tuple(notes))


def _root(text: str, where: str) -> tuple[ElementTree.Element, Sequence[str]]:
    """The document, and the lines before and after it: warnings of a broken infoROM stand there."""
    if len(text) > LIMIT:
        raise TopologyError(f"{where}: {len(text)} characters are more than the {LIMIT} that are read here")
    start = text.find("<?xml")
    if start < 0 and (start := text.find("<nvidia_smi_log")) < 0:
        raise refuse(text, where, "nvidia_smi_log in XML")
    end = text.find(END, start)
    end = len(text) if end < 0 else end + len(END)
    before, document, after = text[:start].lstrip("\ufeff"), text[start:end], text[end:]
    if forbidden := FORBIDDEN.search(document):
        raise at(where, *_position(text, start + forbidden.start()), f"{forbidden[0]!r} is not read here")
    if "<" in after:
        raise at(where, *_position(text, end + after.index("<")), f"there is more XML after {END}")
    try:
        # Bytes that were no UTF-8 came here as lone surrogates, which the parser cannot be given.
        root = ElementTree.fromstring(document.encode("utf-8", "replace").decode())
    except ElementTree.ParseError as error:
        line, column = error.position
        first, indent = _position(text, start)
        column += indent if line == 1 else 1
        message = f"the XML is cut off or damaged: {error.msg.split(':')[0]}"
        raise at(where, first + line - 1, column, message) from error
    if root.tag != "nvidia_smi_log":
        raise at(where, *_position(text, start), f"<{root.tag}> is no nvidia_smi_log")
    return root, [*before.splitlines(), *after.splitlines()]


def _position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a place, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _gpu(index: int, gpu: ElementTree.Element, place: str) -> Gpu:
    address = _text(gpu, "pci/pci_bus_id") or gpu.get("id")

    def number(unit: str, *paths: str) -> float | None:
        return next((found for path in paths if (found := _number(gpu, path, unit, place)) is not None), None)

    def whole(unit: str, *paths: str) -> int | None:
        found = number(unit, *paths)
        return None if found is None else int(found)

    def switch(*paths: str) -> bool | None:
        return next((found for path in paths if (found := _switch(gpu, path, place)) is not None), None)

    generation, width = "pci/pci_gpu_link_info/pcie_gen", "pci/pci_gpu_link_info/link_widths"
    power = ("gpu_power_readings", "power_readings")  # the latter up to driver 525
    return Gpu(
        index=index,
        vendor="nvidia",
        name=_text(gpu, "product_name") or NO_NAME,
        pci=pci_address(address, place) if address else None,
        uuid=_text(gpu, "uuid"),
        memory_mib=whole("MiB", "fb_memory_usage/total"),
        memory_used_mib=whole("MiB", "fb_memory_usage/used"),
        pcie=Pcie(
            generation=whole("", f"{generation}/current_link_gen"),
            width=whole("x", f"{width}/current_link_width"),
            # Of card and slot together; the card's own, max_device_link_gen, a slower slot never reaches.
            generation_max=whole("", f"{generation}/max_link_gen"),
            width_max=whole("x", f"{width}/max_link_width"),
        ),
        ecc=switch("ecc_mode/current_ecc"),
        ecc_uncorrected=_uncorrected(gpu, place),
        # Before Ampere pages were retired, not rows remapped: it waits for the same reset.
        remapped_rows_pending=switch("remapped_rows/remapped_row_pending", *_PENDING),
        remapped_rows_failed=switch("remapped_rows/remapped_row_failure"),
        mig=switch("mig_mode/current_mig"),
        persistence=switch("persistence_mode"),
        power_limit_w=number(
            "W",
            *(f"{readings}/current_power_limit" for readings in power),
            *(f"{readings}/enforced_power_limit" for readings in power),
            *(f"{readings}/power_limit" for readings in power),
        ),
        fabric_state=_fabric(gpu),
    )


_PENDING = ("retired_pages/pending_retirement", "retired_pages/pending_blacklist")


def _uncorrected(gpu: ElementTree.Element, place: str) -> int | None:
    """One total of double-bit errors up to Pascal; then SRAM and DRAM; of late SRAM by parity and SECDED."""
    aggregate = gpu.find("ecc_errors/aggregate")
    if aggregate is None:
        return None
    paths = ["double_bit/total", *(child.tag for child in aggregate if "uncorrectable" in child.tag)]
    counts = [found for path in paths if (found := _number(aggregate, path, "", place)) is not None]
    return int(sum(counts)) if counts else None


def _fabric(gpu: ElementTree.Element) -> str | None:
    """The state, and with it the status where that is anything but success."""
    state, status = _text(gpu, "fabric/state"), _text(gpu, "fabric/status")
    return f"{state} ({status})" if state and status not in (None, "Success") else state


def _text(element: ElementTree.Element, path: str) -> str | None:
    text = (element.findtext(path) or "").strip()
    return None if text in NOTHING or text.startswith("[") or TROUBLE.fullmatch(text) else text


def _number(element: ElementTree.Element, path: str, unit: str, place: str) -> float | None:
    text = _text(element, path)
    if text is None:
        return None
    if not (found := re.fullmatch(rf"(\d+(?:\.\d+)?) ?{unit}", text)):
        raise TopologyError(f"{place}: {path}: {text!r} is no number" + (f" of {unit}" if unit else ""))
    return float(found[1])


def _switch(element: ElementTree.Element, path: str, place: str) -> bool | None:
    text = _text(element, path)
    if text is None:
        return None
    if text not in ("Enabled", "Disabled", "Yes", "No"):
        raise TopologyError(f"{place}: {path}: {text!r} is none of Enabled, Disabled, Yes, No")
    return text in ("Enabled", "Yes")


def _troubles(gpu: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """(Field, what it says); processes have names of their own making."""
    for part in gpu:
        for element in () if part.tag.endswith("processes") else part.iter():
            if TROUBLE.fullmatch(text := (element.text or "").strip()):
                yield element.tag, text

# SPDX-License-Identifier: GPL-3.0-or-later
"""Every schema of `nvidia-smi -q -x` gives the same facts; what it does not say is None and never a guess."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.topology import nvidia_list, nvidia_xml
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Pcie, TopologyError
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_common import (
    NO_NAME,
)
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_list import Listed
from ansible_collections.stronghold.llm.plugins.module_utils.topology.nvidia_xml import Log, parse
from hypothesis import given, settings
from hypothesis import strategies as st

WHERE = "nvidia-smi-q-x.xml"
FIXTURES = Path(__file__).parents[1] / "fixtures" / "topology"
RECORDED = sorted(path.parent.name for path in FIXTURES.glob("*/nvidia-smi-q-x.xml"))
# Constructed after the schema of driver 570 (v12), with the fields that are read.
GPU = """\
\t<gpu id="00000000:1B:00.0">
\t\t<product_name>NVIDIA H100 80GB HBM3</product_name>
\t\t<persistence_mode>Enabled</persistence_mode>
\t\t<mig_mode>
\t\t\t<current_mig>Disabled</current_mig>
\t\t\t<pending_mig>Enabled</pending_mig>
\t\t</mig_mode>
\t\t<mig_devices>
\t\t\tNone
\t\t</mig_devices>
\t\t<uuid>GPU-00000000-0000-0000-0000-000000000001</uuid>
\t\t<minor_number>3</minor_number>
\t\t<pci>
\t\t\t<pci_bus_id>00000000:1B:00.0</pci_bus_id>
\t\t\t<pci_gpu_link_info>
\t\t\t\t<pcie_gen>
\t\t\t\t\t<max_link_gen>4</max_link_gen>
\t\t\t\t\t<current_link_gen>1</current_link_gen>
\t\t\t\t\t<device_current_link_gen>1</device_current_link_gen>
\t\t\t\t\t<max_device_link_gen>5</max_device_link_gen>
\t\t\t\t\t<max_host_link_gen>4</max_host_link_gen>
\t\t\t\t</pcie_gen>
\t\t\t\t<link_widths>
\t\t\t\t\t<max_link_width>16x</max_link_width>
\t\t\t\t\t<current_link_width>8x</current_link_width>
\t\t\t\t</link_widths>
\t\t\t</pci_gpu_link_info>
\t\t</pci>
\t\t<fb_memory_usage>
\t\t\t<total>81559 MiB</total>
\t\t\t<reserved>551 MiB</reserved>
\t\t\t<used>4 MiB</used>
\t\t\t<free>81005 MiB</free>
\t\t</fb_memory_usage>
\t\t<ecc_mode>
\t\t\t<current_ecc>Enabled</current_ecc>
\t\t\t<pending_ecc>Enabled</pending_ecc>
\t\t</ecc_mode>
\t\t<ecc_errors>
\t\t\t<volatile>
\t\t\t\t<dram_uncorrectable>64</dram_uncorrectable>
\t\t\t</volatile>
\t\t\t<aggregate>
\t\t\t\t<sram_correctable>32</sram_correctable>
\t\t\t\t<sram_uncorrectable_parity>1</sram_uncorrectable_parity>
\t\t\t\t<sram_uncorrectable_secded>2</sram_uncorrectable_secded>
\t\t\t\t<dram_correctable>16</dram_correctable>
\t\t\t\t<dram_uncorrectable>4</dram_uncorrectable>
\t\t\t\t<sram_threshold_exceeded>No</sram_threshold_exceeded>
\t\t\t</aggregate>
\t\t</ecc_errors>
\t\t<retired_pages>
\t\t\t<pending_blacklist>N/A</pending_blacklist>
\t\t\t<pending_retirement>N/A</pending_retirement>
\t\t</retired_pages>
\t\t<remapped_rows>
\t\t\t<remapped_row_pending>No</remapped_row_pending>
\t\t\t<remapped_row_failure>No</remapped_row_failure>
\t\t</remapped_rows>
\t\t<gpu_power_readings>
\t\t\t<power_draw>71.50 W</power_draw>
\t\t\t<current_power_limit>650.00 W</current_power_limit>
\t\t\t<default_power_limit>700.00 W</default_power_limit>
\t\t\t<max_power_limit>700.00 W</max_power_limit>
\t\t</gpu_power_readings>
\t\t<module_power_readings>
\t\t\t<current_power_limit>N/A</current_power_limit>
\t\t</module_power_readings>
\t\t<fabric>
\t\t\t<state>Completed</state>
\t\t\t<status>Success</status>
\t\t</fabric>
\t\t<processes>
\t\t\t<process_info>
\t\t\t\t<process_name>GPU is lost</process_name>
\t\t\t</process_info>
\t\t</processes>
\t</gpu>
"""
HEAD = """\
<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
\t<driver_version>570.124.06</driver_version>
\t<cuda_version>12.8</cuda_version>
\t<attached_gpus>1</attached_gpus>
"""
XML = f"{HEAD}{GPU}</nvidia_smi_log>\n"
FOUND = Gpu(
    index=0,
    vendor="nvidia",
    name="NVIDIA H100 80GB HBM3",
    pci="0000:1b:00.0",
    uuid="GPU-00000000-0000-0000-0000-000000000001",
    memory_mib=81559,
    memory_used_mib=4,
    pcie=Pcie(generation=1, width=8, generation_max=4, width_max=16),
    ecc=True,
    ecc_uncorrected=7,
    remapped_rows_pending=False,
    remapped_rows_failed=False,
    mig=False,
    persistence=True,
    power_limit_w=650.0,
    fabric_state="Completed",
)


def block(name: str, inside: str) -> tuple[str, str]:
    """The block `name` of GPU, and the same with something else inside."""
    found = re.search(rf"\t\t<{name}>.*</{name}>\n", GPU, re.DOTALL)
    assert found
    return found[0], f"\t\t<{name}>{inside}</{name}>\n"


def refused(text: str) -> str:
    with pytest.raises(TopologyError) as error:
        parse(text, WHERE)
    return str(error.value)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_is_read_whole_or_refused_with_its_place(name: str):
    text = (FIXTURES / name / WHERE).read_text(encoding="utf-8")
    expected = json.loads((FIXTURES / name / "expected.json").read_text(encoding="utf-8"))
    if expected["should"] == "refuse":
        assert re.match(rf"{WHERE}: line \d+, column \d+: ", refused(text))
        return
    found = parse(text, WHERE)
    assert len(found.gpus) == expected["gpus"]
    assert found.driver
    for gpu in found.gpus:
        assert gpu.name != NO_NAME
        assert gpu.pci
        assert gpu.memory_mib


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("*/nvidia-smi-L.txt")), ids=lambda path: path.parent.name
)
def test_a_recorded_list_names_every_gpu_and_every_mig_instance(path: Path):
    text = path.read_text(encoding="utf-8")
    found = nvidia_list.parse(text, "nvidia-smi -L")
    expected = json.loads(path.with_name("expected.json").read_text(encoding="utf-8"))
    assert len(found) == expected["gpus"]
    assert sum(len(gpu.mig_instances) for gpu in found.values()) == text.count("MIG ")


def test_all_that_is_said_of_a_gpu_is_read():
    assert parse(XML, WHERE) == Log("570.124.06", "12.8", (FOUND,), mig_counts=(0,))


def test_gpus_are_numbered_by_their_order_and_not_by_their_minor_number():
    second = GPU.replace("1B", "CC").replace("<minor_number>3<", "<minor_number>0<")
    found = parse(XML.replace(">1</attached", ">2</attached").replace(GPU, GPU + second), WHERE)
    assert [(gpu.index, gpu.pci) for gpu in found.gpus] == [(0, "0000:1b:00.0"), (1, "0000:cc:00.0")]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        # One total of double-bit errors, as drivers still write for Pascal.
        (
            *block(
                "ecc_errors",
                "<aggregate><single_bit><total>9</total></single_bit><double_bit><device_memory>2"
                "</device_memory><total>3</total></double_bit></aggregate>",
            ),
            {"ecc_uncorrected": 3},
        ),
        (
            *block(
                "ecc_errors",
                "<aggregate><sram_uncorrectable>5</sram_uncorrectable><dram_uncorrectable>N/A"
                "</dram_uncorrectable></aggregate>",
            ),
            {"ecc_uncorrected": 5},
        ),
        (*block("ecc_errors", "<volatile/>"), {"ecc_uncorrected": None}),
        (*block("ecc_errors", "N/A"), {"ecc_uncorrected": None}),
        (*block("remapped_rows", "N/A"), {"remapped_rows_pending": None, "remapped_rows_failed": None}),
        ("<remapped_row_failure>No", "<remapped_row_failure>Yes", {"remapped_rows_failed": True}),
        ("<remapped_row_pending>No", "<remapped_row_pending>Yes", {"remapped_rows_pending": True}),
        (
            *block("gpu_power_readings", "<power_draw>1.00 W</power_draw>"),
            {"power_limit_w": None},
        ),
        ("<current_power_limit>650.00 W", "<current_power_limit>[N/A]", {"power_limit_w": None}),
        ("<current_power_limit>650.00 W</current_", "<power_limit>300.00 W</", {"power_limit_w": 300.0}),
        ("<current_mig>Disabled", "<current_mig>Enabled", {"mig": True}),
        ("<current_mig>Disabled", "<current_mig>N/A", {"mig": None}),
        ("<current_ecc>Enabled", "<current_ecc>[Not Supported]", {"ecc": None}),
        ("<current_ecc>Enabled", "<current_ecc>Disabled", {"ecc": False}),
        (
            "<persistence_mode>Enabled",
            "<persistence_mode>Requested functionality has been deprecated",
            {"persistence": None},
        ),
        ("<total>81559 MiB", "<total>N/A", {"memory_mib": None}),
        ("<state>Completed", "<state>In Progress", {"fabric_state": "In Progress"}),
        ("<status>Success", "<status>N/A", {}),
        (
            "<status>Success",
            "<status>Insufficient Resources",
            {"fabric_state": "Completed (Insufficient Resources)"},
        ),
        (*block("fabric", "<state>N/A</state><status>N/A</status>"), {"fabric_state": None}),
        ("<pci_bus_id>00000000:1B:00.0</pci_bus_id>", "", {}),
        ("<pci_bus_id>00000000:1B", "<pci_bus_id>00010000:E1", {"pci": "10000:e1:00.0"}),
    ],
)
def test_each_schema_and_each_way_to_say_nothing_is_read(old: str, new: str, change: dict[str, Any]):
    assert old in XML
    found = parse(XML.replace(old, new, 1), WHERE)
    assert (found.gpus, found.notes) == ((replace(FOUND, **change),), ())


def test_retired_pages_and_enforced_power_limit_are_what_older_cards_have():
    old = XML.replace(*block("remapped_rows", "N/A")).replace(
        "<pending_retirement>N/A", "<pending_retirement>Yes"
    )
    limits = "<power_limit>300.00 W</power_limit><enforced_power_limit>250.00 W</enforced_power_limit>"
    power, readings = block("gpu_power_readings", limits)
    old = old.replace(power, readings.replace("gpu_power", "power"))
    assert parse(old, WHERE).gpus[0] == replace(
        FOUND, remapped_rows_pending=True, remapped_rows_failed=None, power_limit_w=250.0
    )


def test_what_a_lost_gpu_does_not_say_is_none_and_the_driver_is_quoted():
    lost = re.sub(r"<(product_name|total|current_ecc)>[^<]*<", r"<\1>GPU is lost<", XML)
    found = parse(lost, WHERE)
    assert found.gpus == (replace(FOUND, name=NO_NAME, memory_mib=None, ecc=None),)
    assert found.notes == (
        f"{WHERE}: GPU 0 (00000000:1B:00.0): the driver says 'GPU is lost' of its product_name: reset the "
        "GPU or the host",
    )


@pytest.mark.parametrize("words", ["Unknown Error", "[Unknown Error]", "[GPU requires reset]", "ERR!"])
def test_an_error_in_place_of_a_value_is_a_sentence_and_no_value(words: str):
    found = parse(XML.replace("<current_mig>Disabled", f"<current_mig>{words}"), WHERE)
    assert found.gpus[0].mig is None
    assert repr(words) in found.notes[0]


def test_a_gpu_that_is_attached_and_not_described_is_noticed():
    found = parse(XML.replace("<attached_gpus>1<", "<attached_gpus>8<"), WHERE)
    assert found.notes == (f"{WHERE}: the driver has 8 GPUs attached, and describes 1",)


def test_a_warning_around_the_document_is_kept_and_does_not_spoil_it():
    warning = "WARNING: infoROM is corrupted at gpu 0000:1B:00.0"
    found = parse(f"{XML}{warning}\n", WHERE)
    assert found.gpus == (FOUND,)
    assert found.notes == (f"{WHERE} also said: {warning}",)
    assert parse(f"\ufeff\n{XML}", WHERE).notes == ()


def test_the_place_of_damage_counts_the_lines_before_the_document():
    warning = "WARNING: infoROM is corrupted at gpu 0000:1B:00.0\n"
    assert "line 85, column 4: the XML is cut off" in refused(warning + XML.replace("</fb_memory_usage>", ""))


def test_mig_instances_are_counted_here_and_named_by_the_list():
    devices = "<mig_device><index>0</index></mig_device><mig_device><index>1</index></mig_device>"
    assert parse(XML.replace(*block("mig_devices", devices)), WHERE).mig_counts == (2,)
    listed = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-00000000-0000-0000-0000-000000000001)
  MIG 3g.20gb     Device  0: (UUID: MIG-00000000-0000-0000-0000-000000000002)
  MIG 1c.3g.20gb  Device  1: (UUID: MIG-GPU-00000000-0000-0000-0000-000000000001/1/0)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-00000000-0000-0000-0000-000000000003)
  MIG 1g.5gb+me   Device  0: (UUID: MIG-00000000-0000-0000-0000-000000000004)
"""
    found = nvidia_list.parse(listed, "nvidia-smi -L")
    assert {index: gpu.mig_instances for index, gpu in found.items()} == {
        0: ("3g.20gb", "1c.3g.20gb"),
        1: ("1g.5gb+me",),
    }
    assert nvidia_list.parse("GPU 3: Tesla T4 (UUID: ...)\n", "nvidia-smi -L") == {3: Listed("Tesla T4")}
    with pytest.raises(TopologyError, match="line 2, column 3: 'MIG dreiviertel' is neither a GPU nor a MIG"):
        nvidia_list.parse(listed.replace("MIG 3g.20gb", "MIG dreiviertel\n", 1), "nvidia-smi -L")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<total>81559 MiB", "<total>81559 MB", "GPU 0 (00000000:1B:00.0): fb_memory_usage/total: '81559"),
        ("<total>81559 MiB", "<total>viel", "fb_memory_usage/total: 'viel' is no number of MiB"),
        ("<current_ecc>Enabled", "<current_ecc>Aktiviert", "ecc_mode/current_ecc: 'Aktiviert' is none of"),
        ("<current_mig>Disabled", "<current_mig>已禁用", "mig_mode/current_mig: '已禁用' is none of"),
        ("<max_link_width>16x", "<max_link_width>x16", "link_widths/max_link_width: 'x16' is no number of x"),
        ("<pci_bus_id>00000000:1B:00.0", "<pci_bus_id>Bus 27", "'Bus 27' is no PCI address such as 00000000"),
        ("</fb_memory_usage>", "", "line 84, column 4: the XML is cut off or damaged: mismatched tag"),
        ("</nvidia_smi_log>", "</nvidia_smi_log>" + XML, "line 85, column 18: there is more XML after"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused_by_file_gpu_and_field(old: str, new: str, message: str):
    found = refused(XML.replace(old, new, 1))
    assert found.startswith(WHERE)
    assert message in found


def test_a_document_that_would_bring_entities_is_not_read():
    bomb = XML.replace('SYSTEM "nvsmi_device_v12.dtd"', '[<!ENTITY a "ha"><!ENTITY b "&a;&a;">]')
    assert "line 2, column 1: '<!DOCTYPE nvidia_smi_log [' is not read here" in refused(bomb)
    assert "'<!ENTITY' is not read here" in refused(
        XML.replace("<nvidia_smi_log>", "<!ENTITY a 'b'><nvidia_smi_log>")
    )
    assert "is cut off or damaged: undefined entity" in refused(XML.replace("H100", "&a;"))


def test_a_document_of_any_size_is_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nvidia_xml, "LIMIT", len(XML) - 1)
    assert f"{len(XML)} characters are more than the {len(XML) - 1}" in refused(XML)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: no nvidia_smi_log in XML here: nothing was printed"),
        ("GPU 0: NVIDIA H100 (UUID: GPU-1)", "no nvidia_smi_log in XML here: begins with 'GPU 0"),
        ("\x7fELF\x00\x01<?xml\x00", "line 1, column 12: the XML is cut off or damaged"),
        ('\n<?xml version="1.0" ?>\n<rocm><gpu/></rocm>', "line 2, column 1: <rocm> is no nvidia_smi_log"),
    ],
)
def test_the_output_of_something_else_is_refused(text: str, message: str):
    assert message in refused(text)


def test_bytes_that_are_no_utf8_do_not_stop_the_rest():
    text = XML.encode().replace(b"GPU is lost", b"\xff\xfe").decode(errors="surrogateescape")
    assert parse(text, WHERE).gpus == (FOUND,)


@given(length=st.integers(0, len(XML) - len("</nvidia_smi_log>\n") + 16))
@settings(max_examples=300, deadline=None)
def test_a_log_that_is_cut_off_anywhere_is_refused_with_the_place(length: int):
    assert re.match(rf"{WHERE}: line \d+, column \d+: ", refused(XML[:length]))

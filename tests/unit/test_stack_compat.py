# SPDX-License-Identifier: GPL-3.0-or-later
"""What works is let through, what does not is named, and what nobody knows is neither.

tests/fixtures/stacks holds both tables; each set says where it was seen. Versions that are beside the point
and that the source does not give are filled in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import string
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.compat import (
    data_amd,
    data_engines,
    data_nvidia,
    matrix,
    requirement,
    rules,
    rules_wheels,
    stack,
)
from ansible_collections.stronghold.llm.plugins.module_utils.compat.stack import Hardware, StackError
from ansible_collections.stronghold.llm.plugins.module_utils.compat.versions import VersionError, parse
from ansible_collections.stronghold.llm.plugins.module_utils.site.findings import Finding, refused
from ansible_collections.stronghold.llm.plugins.module_utils.topology.model import Gpu, Topology
from hypothesis import given
from hypothesis import strategies as st

STACKS = Path(__file__).parents[1] / "fixtures/stacks"
GOOD: list[dict[str, Any]] = json.loads((STACKS / "good.json").read_text())
BAD: list[dict[str, Any]] = json.loads((STACKS / "bad.json").read_text())
DOC = Path(__file__).parents[2] / "docs/compatibility.md"

A100 = Hardware("gpu1", "NVIDIA A100 80GB PCIe", "nvidia", (8, 0))
H100 = Hardware("gpu2", "NVIDIA H100 PCIe", "nvidia", (9, 0))
V100 = Hardware("gpu3", "Tesla V100-SXM2-16GB", "nvidia", (7, 0))
GH200 = Hardware("gpu4", "NVIDIA GH200 480GB", "nvidia", (9, 0), platform="gh200")
GB200 = Hardware("gpu5", "NVIDIA GB200", "nvidia", (10, 0), platform="gb200-nvl72")


def card(said: dict[str, Any]) -> Hardware:
    capability = matrix.capability(said["compute_capability"]) or said["compute_capability"]
    return Hardware(**{"host": "gpu1", "vendor": "nvidia", **said, "compute_capability": capability})


def check(lock: dict[str, Any], *cards: Hardware) -> list[Finding]:
    return rules.check(lock, cards or (A100,))


@pytest.mark.parametrize("known", GOOD, ids=lambda known: known["name"])
def test_a_set_that_works_somewhere_is_let_through(known: dict[str, Any]) -> None:
    found = check(known["stack"], *map(card, known["cards"]))
    assert [str(finding) for finding in found if finding.severity != "note"] == []


@pytest.mark.parametrize("known", BAD, ids=lambda known: known["name"])
def test_a_set_that_failed_somewhere_is_named(known: dict[str, Any]) -> None:
    found = check(known["stack"], *map(card, known["cards"]))
    named = [finding for finding in found if finding.subject == known["subject"]]
    assert known["severity"] in [finding.severity for finding in named]
    assert any(known["says"] in str(finding) for finding in named), [str(finding) for finding in named]


def test_every_set_says_where_it_was_seen_and_there_are_enough() -> None:
    assert len(GOOD) >= 12
    assert len(BAD) >= 20
    assert all(known["source"] for known in (*GOOD, *BAD))


# -- Debian 13's driver, today's trap -----------------------------------------------------------------------


def test_debians_driver_with_todays_vllm_is_refused_in_one_line_that_names_the_newest_that_works() -> None:
    lock = {"driver": "550.163.01", "driver_flavour": "open", "driver_source": "debian", "vllm": "0.33.0"}
    finding = check(lock)[0]
    assert str(finding) == (
        "the version lock: driver and vllm: found driver 550.163.01 with vllm 0.33.0, expected driver "
        "580.65.06 or newer (the wheel is built for CUDA 13.0, which needs driver 580 or newer); lock driver "
        "580.65.06 or newer, or vllm 0.19.1, the newest whose wheel works here"
    )
    assert finding.severity == "refuse"


@pytest.mark.parametrize(
    ("driver", "cards", "newest"),
    [
        ("550.163.01", [A100], "0.19.1"),
        ("550.163.01", [H100], "0.9.1"),  # the last one with native attention for Hopper
        ("550.163.01", [A100, H100], "0.9.1"),
        ("550.163.01", [V100], "0.19.1"),
        ("570.172.08", [H100], "0.11.2"),
        ("575.57.08", [H100], "0.19.1"),
        ("580.95.05", [A100, H100], "0.33.0"),
        ("580.95.05", [V100], "0.19.1"),
        ("470.256.02", [A100], None),
        ("580.95.05", [Hardware("gpu1", "NVIDIA Thor", "nvidia", (11, 0))], None),
        ("580.95.05", [GH200], "0.33.0"),
        ("570.172.08", [GH200], None),  # the index's torch for aarch64 has no CUDA 12
    ],
)
def test_the_newest_that_works_depends_on_driver_and_cards(
    driver: str, cards: list[Hardware], newest: str | None
) -> None:
    found = rules.newest_that_works({"driver": driver}, cards)
    assert (str(found) if found else None) == newest


@pytest.mark.parametrize(
    ("python", "hardware", "newest"),
    [("3.13.5", A100, "0.19.1"), ("3.13.5", H100, None), ("3.12", H100, "0.9.1"), ("3.14", A100, None)],
)
def test_the_newest_that_works_can_be_installed(python: str, hardware: Hardware, newest: str | None) -> None:
    found = rules.newest_that_works({"driver": "550.163.01", "python": python}, [hardware])
    assert (str(found) if found else None) == newest
    if newest is None:
        (said, *_) = check({"driver": "550.163.01", "vllm": "0.33.0", "python": python}, hardware)
        assert said.remedy.endswith("or a build of your own")


def test_a_wheel_works_only_with_a_torch_that_holds_the_card_too() -> None:
    wheel = matrix.vllm_wheel(parse("0.10.0"))  # its own kernels have 12.0, the torch that it pins has not
    assert wheel
    rtx = Hardware("gpu1", "NVIDIA GeForce RTX 5070 Ti", "nvidia", (12, 0), data_centre=False)
    assert matrix.holds(wheel.capabilities, (12, 0))
    assert not rules_wheels.works(wheel, parse("570.172.08"), [rtx])


def test_only_vllm_has_a_newest_that_works() -> None:
    with pytest.raises(ValueError, match="torch: only vllm"):
        rules.newest_that_works({"driver": "580.95.05"}, [A100], "torch")


def test_the_newest_that_works_is_itself_let_through() -> None:
    for driver in (
        "525.60.13",
        "535.183.06",
        "550.163.01",
        "565.57.01",
        "570.172.08",
        "580.95.05",
        "610.43.02",
    ):
        for hardware in (A100, H100):
            newest = rules.newest_that_works({"driver": driver}, [hardware])
            found = check({"driver": driver, "vllm": str(newest)}, hardware)
            assert not [str(finding) for finding in found if finding.severity != "note"]


# -- what nobody knows is neither good nor bad -------------------------------------------------------------


@pytest.mark.parametrize(
    ("lock", "found"),
    [
        ({"driver": "580.95.05", "vllm": "0.99.0"}, "vllm 0.99.0"),
        ({"driver": "580.95.05", "torch": "9.9.0"}, "torch 9.9.0"),
        ({"driver": "580.95.05", "torch": "2.9.0+cpu"}, "torch 2.9.0+cpu"),
        ({"driver": "580.95.05", "torch": "2.14.0+cu132"}, "torch 2.14.0+cu132 for CUDA 13.2"),
        ({"driver": "580.95.05", "cuda": "14.0"}, "CUDA 14.0"),
        ({"driver": "700.10.01", "cuda": "13.9"}, "CUDA 13.9"),
        ({"driver": "590.48.01", "cuda_compat": "610.43.02"}, "compat package 610.43.02"),
        ({"driver": "700.10.01", "image_require_cuda": "cuda>=14.0"}, "driver 700.10.01"),
        ({"rocm_kernel": "99.10", "rocm": "7.2"}, "amdgpu 99.10"),
        ({"rocm_kernel": "30.30", "rocm": "11.0"}, "ROCm 11.0"),
        ({"rocm": "7.2", "vllm": "0.33.0"}, "vllm 0.33.0 for ROCm, which is not the wheel of the index"),
    ],
)
def test_what_the_matrix_does_not_have_is_a_note(lock: dict[str, Any], found: str) -> None:
    hardware = Hardware("gpu9", "AMD Instinct MI300X", "amd", "gfx942") if "rocm" in lock else A100
    said = check(lock, hardware)
    assert ("note", found, "not in the matrix: not checked") in [
        (finding.severity, finding.found, finding.rule) for finding in said
    ]
    assert not refused(said)


def test_a_card_without_a_capability_and_one_that_is_newer_than_the_matrix_are_notes() -> None:
    for capability in (None, (13, 0)):
        found = check({"driver": "620.10.01"}, Hardware("gpu1", "NVIDIA X", "nvidia", capability))
        assert [finding.subject for finding in found if "not in the matrix" in finding.rule] == [
            "card and driver"
        ]


def test_a_lock_that_names_nothing_finds_nothing_but_that() -> None:
    assert [(finding.severity, finding.found) for finding in check({})] == [
        ("note", "NVIDIA A100 80GB PCIe, and no driver in the lock")
    ]


def test_one_lock_for_both_vendors_is_read_by_each_for_its_part() -> None:
    lock = {"driver": "580.95.05", "rocm_kernel": "6.3", "rocm": "7.2"}
    mi300 = Hardware("gpu9", "AMD Instinct MI300X", "amd", "gfx942")
    assert [finding.subject for finding in check(lock, A100, mi300)] == ["amdgpu and ROCm"]


def test_fabric_parts_that_a_host_does_not_need_are_notes() -> None:
    lock = {"driver": "580.95.05", "fabric_manager": "580.95.05", "nvlsm": "2025.06", "imex": "580.95.05"}
    assert {finding.severity for finding in check(lock)} == {"note"}
    assert {finding.subject for finding in check(lock)} == {
        "driver and fabric manager",
        "fabric manager and NVLSM",
        "driver and imex",
    }


def test_a_compat_package_of_the_drivers_own_branch_is_useless_and_no_more() -> None:
    found = check({"driver": "580.65.06", "cuda_compat": "580.95.05"})
    assert [(finding.severity, finding.remedy) for finding in found] == [("note", "take the package away")]


def test_a_compat_package_for_a_workstation_card_is_a_warning_as_some_have_it() -> None:
    rtx = Hardware("gpu1", "NVIDIA RTX A6000", "nvidia", (8, 6), data_centre=False)
    found = check({"driver": "550.163.01", "cuda_compat": "580.95.05"}, rtx)
    assert [finding.severity for finding in found] == ["warn"]


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [("525.60.13", "12.0"), ("580.65.06", "13.0"), ("570.26", "12.8.1"), ("620.10.01", "11.8")],
)
def test_the_very_driver_of_a_toolkit_and_any_newer_one_lack_nothing(driver: str, cuda: str) -> None:
    assert [str(finding) for finding in check({"driver": driver, "cuda": cuda})] == []


def test_a_tray_with_fabric_manager_is_told_once() -> None:
    lock = {"driver": "580.159.04", "driver_flavour": "open", "imex": "580.159.04"}
    found = check({**lock, "fabric_manager": "580.159.04"}, GB200)
    assert [finding.subject for finding in found] == ["tray and fabric manager"]


def test_each_kind_of_card_in_a_group_is_judged_by_itself() -> None:
    found = check({"driver": "590.48.01", "driver_flavour": "proprietary"}, A100, V100, H100)
    assert [(finding.host, finding.severity) for finding in found] == [("gpu3", "refuse")]


def test_minor_version_compatibility_is_a_note_that_says_what_it_lacks() -> None:
    found = check({"driver": "535.183.06", "cuda": "12.8"})
    assert [finding.severity for finding in found] == ["note"]
    assert "PTX of a newer CUDA is not compiled" in str(found[0])


# -- locks that cannot be read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ({"drivers": "580.95.05"}, "drivers: not known: use kernel, driver,"),
        ({"driver": "latest"}, "driver: 'latest' is no version"),
        ({"driver": ""}, "driver: '' is no version"),
        ({"cuda": 12.1}, "cuda: 12.1 is a number to YAML, which drops zeros: write it in quotes"),
        ({"vllm": ["0.33.0"]}, "vllm: ['0.33.0'] is no text"),
        ({"vllm": True}, "vllm: True is no text"),
        ({"driver_flavour": "nouveau"}, "driver_flavour: 'nouveau' is none of open, proprietary"),
        ({"kernel_modules": "ib_umad"}, "kernel_modules: 'ib_umad' is no list of texts"),
        (
            {"image_require_cuda": "cuda>=twelve"},
            "image_require_cuda: 'cuda>=twelve': 'twelve' is no version",
        ),
        ({"image_require_cuda": "cuda"}, "image_require_cuda: 'cuda' is no condition"),
        ({"image_require_cuda": "gpu=1"}, "image_require_cuda: 'gpu=1' is no condition"),
        ({"image_require_cuda": "brand>tesla"}, "image_require_cuda: 'brand>tesla': a brand is compared"),
    ],
)
def test_a_malformed_lock_is_one_error_that_names_the_key(lock: dict[str, Any], said: str) -> None:
    with pytest.raises(StackError) as error:
        check(lock)
    assert said in str(error.value)


def test_everything_wrong_with_a_lock_is_said_at_once() -> None:
    with pytest.raises(StackError, match=r"driver: .*; torch: "):
        check({"driver": "x", "torch": "y"})
    with pytest.raises(StackError, match="is no mapping"):
        check(["580"])  # type: ignore[arg-type]


keys = st.sampled_from([field.name for field in dataclasses.fields(stack.Stack)]) | st.text(max_size=12)
junk = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.text())


@given(st.dictionaries(keys, junk | st.sampled_from(["580.95.05", "13.0", "2.9.0+cu128", "open"])))
def test_garbage_is_a_stack_error_and_nothing_else(lock: dict[str, Any]) -> None:
    with contextlib.suppress(StackError):
        check(lock)


@given(st.text(alphabet=string.printable, max_size=60))
def test_garbage_in_an_images_expression_is_an_error_or_an_answer(text: str) -> None:
    with contextlib.suppress(requirement.RequirementError):
        requirement.is_met(text, {"cuda": parse("12.4")}, {"tesla"})


# -- NVIDIA_REQUIRE_CUDA -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        ("", True),
        ("cuda>=12.4", True),
        ("cuda>=12.8", False),
        ("cuda>=12.8 brand=tesla,driver>=550,driver<551", True),
        ("cuda>=12.8 brand=tesla,driver>=535,driver<536", False),  # a newer driver need not pass
        ("cuda>=12.8 brand=geforce,driver>=550,driver<551", False),
        ("cuda>=12.8,driver>=550", False),
        ("cuda!=12.4", False),
        ("cuda=12.4.0,cuda<=12.4", True),
        ("cuda<12.4 cuda>12.4", False),
        ("arch>=8.0", True),
        ("ARCH>8.0", False),
        ("brand!=tesla", False),
    ],
)
def test_an_image_is_let_in_by_one_alternative_of_which_all_conditions_hold(
    expression: str, met: bool
) -> None:
    has = {"cuda": parse("12.4"), "driver": parse("550.163.01"), "arch": parse("8.0")}
    assert requirement.is_met(expression, has, {"tesla", "nvidia"}) is met


def test_what_is_not_known_of_a_host_meets_no_condition() -> None:
    assert not requirement.is_met("arch>=7.0", {"arch": None}, frozenset())


# -- versions ----------------------------------------------------------------------------------------------

numbers = st.integers(0, 999)
versions = st.builds(
    lambda release, stage, rest: ".".join(map(str, release)) + stage + rest,
    st.lists(numbers, min_size=1, max_size=4),
    st.sampled_from(["", "rc1", ".post1", ".post2", ".dev20250101", "a0"]),
    st.sampled_from(["", "+cu128", "+cu130", "-2", "+deb13-amd64"]),
)


@pytest.mark.parametrize(
    "rising",
    [
        ["550.54.14", "550.163.01", "570.26", "570.124.06", "580.65.06", "580.95.05", "610.43.02"],
        [
            "0.8.5rc1",
            "0.8.5",
            "0.8.5.post0",
            "0.8.5.post1",
            "0.9.0",
            "0.10.1",
            "0.10.1.1",
            "0.11.0",
            "0.33.0",
        ],
        ["6.12.99-amd64", "6.12.107+deb13-amd64", "6.12.117+deb13-amd64", "6.17.0-1014-generic"],
        ["2.9.0.dev1", "2.9.0", "2.9.0+cu128", "2.9.0+cu130", "2.9.1"],
    ],
)
def test_versions_rise_as_people_read_them(rising: list[str]) -> None:
    assert sorted(map(parse, reversed(rising))) == list(map(parse, rising))


def test_zeros_at_the_end_count_nothing_and_a_package_revision_is_the_same_release() -> None:
    assert parse("12.8") == parse("12.8.0")
    assert hash(parse("12.8")) == hash(parse("12.8.0"))
    assert parse("580.95.05").same_release(parse("580.95.5-1"))
    assert not parse("580.95.05").same_release(parse("580.95"))


@given(versions, versions, versions)
def test_the_order_of_versions_is_total(a: str, b: str, c: str) -> None:
    x, y, z = parse(a), parse(b), parse(c)
    assert (x < y) + (x == y) + (y < x) == 1
    if x <= y and y <= z:
        assert x <= z


@pytest.mark.parametrize(
    "text",
    ["", "latest", "v1.0", "1..2", "1.", ".1", "12.8 ", "1:580.95", "12,8", "²", "\u0663.\u0661", "1" * 30],
)
def test_what_is_no_version_says_so(text: str) -> None:
    with pytest.raises(VersionError, match="is no version"):
        parse(text)


# -- properties of the whole -------------------------------------------------------------------------------

branches = st.sampled_from([525, 535, 550, 560, 570, 575, 580, 590, 595, 610])
vllms = st.sampled_from([str(wheel.version) for wheel in matrix.vllm_wheels()])
capabilities = st.sampled_from([(7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)])
WORSE = {"note": 0, "warn": 1, "refuse": 2}


@given(branches, numbers, numbers, vllms, capabilities)
def test_a_newer_driver_of_the_same_branch_never_makes_a_set_worse(
    branch: int, one: int, other: int, vllm: str, capability: tuple[int, int]
) -> None:
    hardware = Hardware("gpu1", "NVIDIA X", "nvidia", capability)

    def findings(patch: int) -> int:
        found = check({"driver": f"{branch}.{patch}.01", "vllm": vllm}, hardware)
        return max((WORSE[finding.severity] for finding in found), default=0)

    low, high = sorted((one, other))
    assert findings(high) <= findings(low)


@given(st.integers(450, 640), vllms, capabilities)
def test_findings_do_not_depend_on_how_many_hosts_have_the_card(
    branch: int, vllm: str, capability: tuple[int, int]
) -> None:
    lock = {"driver": f"{branch}.10.01", "vllm": vllm}
    hosts = [Hardware(f"gpu{number}", "NVIDIA X", "nvidia", capability) for number in range(3)]
    alone, together = rules.check(lock, hosts[:1]), rules.check(lock, hosts)
    of_cards = [finding for finding in alone if finding.host == "gpu0"]
    assert len(together) == len(alone) + 2 * len(of_cards)


@given(st.integers(400, 640), st.integers(0, 300), st.lists(capabilities, max_size=3))
def test_whatever_is_named_as_the_newest_works(branch: int, patch: int, cards: list[tuple[int, int]]) -> None:
    hardware = [Hardware("gpu1", "NVIDIA X", "nvidia", capability) for capability in cards]
    driver = parse(f"{branch}.{patch}.01")
    newest = rules_wheels.newest_vllm(stack.Stack(driver=driver), hardware)
    wheel = matrix.vllm_wheel(newest) if newest else None
    for other in matrix.vllm_wheels():
        if wheel is None or other.version > wheel.version:
            assert not rules_wheels.works(other, driver, hardware)
    assert wheel is None or rules_wheels.works(wheel, driver, hardware)


# -- cards out of topologies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "topology", "expected"),
    [
        (Gpu(0, "nvidia", "NVIDIA A10", compute_capability="8.6"), {}, ("", False, True, (8, 6))),
        (
            Gpu(0, "nvidia", "NVIDIA H100 80GB HBM3", compute_capability="9.0"),
            {"nvswitches": ("0000:05:00.0",)},
            ("", True, True, (9, 0)),
        ),
        (Gpu(0, "nvidia", "NVIDIA H100 80GB HBM3", fabric_state="Completed"), {}, ("", False, True, None)),
        (Gpu(0, "nvidia", "NVIDIA B200"), {"nvswitches": ("0000:05:00.0",)}, ("hgx-b200", True, True, None)),
        (
            Gpu(0, "nvidia", "NVIDIA B200"),
            {},
            ("", False, True, None),
        ),  # one of a board, in a virtual machine
        (Gpu(0, "nvidia", "NVIDIA GB200", fabric_state="Completed"), {}, ("gb200-nvl72", False, True, None)),
        (Gpu(0, "nvidia", "NVIDIA GH200 480GB"), {}, ("gh200", False, True, None)),
        (Gpu(0, "nvidia", "NVIDIA GeForce RTX 4090"), {}, ("", False, False, None)),
        (Gpu(0, "nvidia", "NVIDIA RTX A6000"), {}, ("", False, False, None)),
        (Gpu(0, "nvidia", "NVIDIA RTX PRO 6000 Blackwell Server Edition"), {}, ("", False, True, None)),
        (Gpu(0, "amd", "AMD Instinct MI300X", compute_capability="gfx942"), {}, ("", False, True, "gfx942")),
    ],
)
def test_a_card_is_known_by_what_its_host_says(
    gpu: Gpu, topology: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    (found,) = stack.cards(Topology("gpu1", gpus=(gpu,), **topology))
    assert (found.platform, found.has_nvswitch, found.data_centre, found.compute_capability) == expected


def test_eight_equal_cards_are_one_kind_and_two_models_are_two() -> None:
    gpus = tuple(Gpu(index, "nvidia", "NVIDIA A100-SXM4-80GB") for index in range(8))
    assert len(stack.cards(Topology("gpu1", gpus=gpus))) == 1
    assert len(stack.cards(Topology("gpu1", gpus=(*gpus, Gpu(8, "nvidia", "NVIDIA T400"))))) == 2
    assert stack.cards(Topology("cpu1")) == []


def test_a_full_blackwell_board_is_one_though_its_switches_cannot_be_read() -> None:
    gpus = tuple(Gpu(index, "nvidia", "NVIDIA B300") for index in range(8))
    (found,) = stack.cards(Topology("gpu1", gpus=gpus))
    assert (found.platform, found.has_nvswitch) == ("hgx-b300", True)


def test_a_lock_without_a_driver_still_has_its_wheels_checked() -> None:
    found = check({"vllm": "0.33.0", "torch": "2.11.0"}, V100)
    assert [finding.subject for finding in found if finding.severity == "refuse"] == [
        "vllm and torch",
        "card and torch",
        "card and vllm",
    ]


def test_each_lock_is_checked_on_its_own_hosts_and_an_unread_host_is_said() -> None:
    a100 = Gpu(0, "nvidia", "NVIDIA A100 80GB PCIe", compute_capability="8.0")
    v100 = Gpu(0, "nvidia", "Tesla V100-SXM2-16GB", compute_capability="7.0")
    topologies = [Topology("gpu1", gpus=(a100,)), Topology("gpu2", gpus=(v100,))]
    locks = [
        {"group": "new", "hosts": ["gpu1", "gpu3"], "stack": {"driver": "580.95.05", "vllm": "0.33.0"}},
        {
            "group": "old",
            "hosts": ["gpu2"],
            "stack": {"driver": "590.48.01", "driver_flavour": "proprietary"},
        },
    ]
    found = rules.check_locks(locks, topologies)
    assert [(finding.host, finding.severity) for finding in found] == [("gpu2", "refuse"), ("gpu3", "note")]
    with pytest.raises(StackError, match=r"stronghold_stack.accelerators.new: driver: "):
        rules.check_locks([{"group": "new", "hosts": [], "stack": {"driver": "?"}}], [])


# -- the matrix itself -------------------------------------------------------------------------------------


def test_every_table_has_a_source_and_a_date() -> None:
    tables: list[Any] = [
        data_nvidia.CUDA_MAJORS,
        data_nvidia.CUDA_TOOLKITS,
        data_nvidia.CARDS,
        data_nvidia.FORWARD_BRANCHES,
        data_nvidia.FLAVOURS,
        data_nvidia.TOOLKIT_IMEX,
        *data_nvidia.KERNELS,
        data_amd.USER_SPACES,
        data_engines.VLLM,
        data_engines.VLLM_PYTHONS,
        data_engines.VLLM_BUILDS,
        data_engines.TORCH,
    ]
    assert all(table["source"] and table["checked"] >= "2026-11" for table in tables)
    builds: Any = data_engines.TORCH_BUILDS["rows"]
    assert all(build["source"] for build in builds)


@pytest.mark.parametrize(
    "table",
    [
        data_nvidia.CUDA_TOOLKITS,
        data_engines.VLLM,
        data_engines.VLLM_PYTHONS,
        data_engines.VLLM_BUILDS,
        data_engines.TORCH,
    ],
)
def test_tables_are_newest_first_as_lookups_take_the_first_that_fits(table: Any) -> None:
    names = [parse(row["since"] if isinstance(row, dict) else row[0]) for row in table["rows"]]
    assert names == sorted(names, reverse=True)
    assert len(set(names)) == len(names)


def test_every_minor_of_vllm_from_0_6_to_0_33_is_in_the_matrix_with_its_torch() -> None:
    minors = {wheel.version.release[1] for wheel in matrix.vllm_wheels()}
    assert set(range(6, 34)) <= minors
    for wheel in matrix.vllm_wheels():
        torch = matrix.torch_wheel(wheel.torch)
        assert torch is not None, wheel
        assert torch.capabilities, wheel
        assert matrix.minimum_driver(wheel.cuda)
        assert matrix.toolkit_driver(wheel.cuda)


def test_the_table_of_the_documentation_is_the_data() -> None:
    text = DOC.read_text()
    begin, end = "<!-- vllm -->\n", "<!-- /vllm -->"
    assert text[text.index(begin) + len(begin) : text.index(end)] == vllm_table()


def vllm_table() -> str:
    """One row for each run of versions that have all its cells in common."""
    rows: list[tuple[list[matrix.VllmWheel], str]] = []
    for wheel in matrix.vllm_wheels():
        torch = matrix.torch_wheel(wheel.torch)
        assert torch
        ptx = matrix.toolkit_driver(wheel.cuda) if wheel.attention_ptx else "-"
        cells = f"{wheel.torch} | {torch.cuda} | {wheel.cuda} | {matrix.minimum_driver(wheel.cuda)} | {ptx}"
        if not rows or rows[-1][1] != cells:
            rows.append(([], cells))
        rows[-1][0].append(wheel)
    lines = [
        "| vLLM | torch | torch's CUDA | kernels' CUDA | driver | driver, with PTX |",
        "|---|---|---|---|---|---|",
    ]
    for wheels, cells in rows:
        newest, oldest = wheels[0].version, wheels[-1].version
        lines.append(f"| {newest if newest is oldest else f'{oldest} to {newest}'} | {cells} |")
    return "\n".join(lines) + "\n"

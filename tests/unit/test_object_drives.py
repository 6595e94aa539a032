# SPDX-License-Identifier: GPL-3.0-or-later
"""A store is let at folders that are its own, and at nothing that somebody might miss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.objects.drives import (
    Drive,
    Record,
    look,
    problems,
    taken,
)

PATH = "/srv/cold/objects"
OURS, OTHER = "11111111-ours", "22222222-other"
STORE = (".minio.sys", "weights")


def against(drive: Drive, record: Record, *, root: bool = False, adopt: str = "", alone: bool = True) -> str:
    return "\n".join(problems([drive], record, allow_root_disk=root, adopt=adopt, alone=alone))


@pytest.mark.parametrize(
    ("drive", "record"),
    [
        (Drive(PATH, False), Record()),
        (Drive(PATH, False), Record((PATH,))),  # died before the store was made
        (Drive(PATH, False, STORE, OURS), Record((PATH,))),  # died before its id was written down
        (Drive(PATH, False, STORE, OURS), Record((PATH,), OURS)),
        (Drive(PATH, False, (".minio.sys",)), Record((PATH,))),  # died while the store was made
    ],
    ids=["new", "taken", "just made", "known", "half made"],
)
def test_a_run_goes_on_wherever_the_last_one_died(drive: Drive, record: Record) -> None:
    assert against(drive, record) == ""


@pytest.mark.parametrize(
    ("drive", "record", "said"),
    [
        (Drive(PATH, True), Record(), "on the root file system"),
        (Drive(PATH, False, ("letters", "photos")), Record(), "letters, photos"),
        (Drive(PATH, False, STORE, OTHER), Record((PATH,), OURS), f"minio_deployment_id: {OTHER}"),
        (Drive(PATH, False, STORE, OTHER), Record(), "this host knows none"),
        (Drive(PATH, False, STORE, "unreadable"), Record((PATH,), OURS), "holds the store unreadable"),
        (Drive(PATH, False), Record((PATH,), OURS), "not mounted, or lost"),
    ],
    ids=["root disk", "foreign files", "another store", "unknown store", "damaged format", "vanished"],
)
def test_what_is_not_ours_or_is_gone_is_refused_by_name(drive: Drive, record: Record, said: str) -> None:
    refused = against(drive, record)
    assert PATH in refused
    assert said in refused


def test_a_store_that_is_named_is_taken_over() -> None:
    assert against(Drive(PATH, False, STORE, OTHER), Record(), adopt=OTHER) == ""


def test_an_empty_drive_among_several_is_healed_not_refused() -> None:
    assert against(Drive(PATH, False), Record((PATH,), OURS), alone=False) == ""


def test_a_lab_may_use_its_only_disk() -> None:
    assert against(Drive(PATH, True), Record(), root=True) == ""


def test_a_folder_is_read_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "objects"
    assert look(str(folder), tmp_path) == Drive(str(folder), True)
    (folder / "lost+found").mkdir(parents=True)
    assert look(str(folder), tmp_path).entries == ()
    (folder / ".minio.sys").mkdir()
    (folder / ".minio.sys/format.json").write_text(json.dumps({"format": "xl-single", "id": OURS}))
    assert look(str(folder), Path("/proc")) == Drive(str(folder), False, (".minio.sys",), OURS)
    (folder / ".minio.sys/format.json").write_text("{")
    assert look(str(folder), tmp_path).deployment == "unreadable"


def test_the_record_survives_and_keeps_the_id_of_a_store_whose_disk_is_away(tmp_path: Path) -> None:
    record = taken([Drive(PATH, False, STORE, OURS)], Record())
    record.save(tmp_path / "drives.json")
    again = Record.load(tmp_path / "drives.json")
    assert again == Record((PATH,), OURS)
    assert taken([Drive(PATH, False)], again) == again

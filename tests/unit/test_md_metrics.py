# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus is told of the arrays, which is what the alarms go by."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
DECLARED = "ARRAY /dev/md/hot metadata=1.2 UUID=1:2:3:4\nARRAY /dev/md/cold metadata=1.2 UUID=5:6:7:8\n"


@pytest.fixture(scope="module")
def metrics() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "md_metrics", ROOT / "roles/raid_storage/files/md_metrics.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def block(tmp_path: Path) -> Path:
    """/sys/block of the recorded host, and links as udev makes them."""
    links = tmp_path / "md"
    links.mkdir()
    for name, link in (("md127", "hot"), ("md126", "warm")):
        texts = json.loads((ROOT / f"tests/fixtures/storage/whole/{name}.json").read_text())
        for path, text in texts.items():
            file = tmp_path / "block" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")
        (links / link).symlink_to(tmp_path / "block" / name)
    return tmp_path / "block"


def written(metrics: ModuleType, block: Path) -> str:
    return metrics.text(list(metrics.samples(block, block.parent / "md", DECLARED)))


def test_a_whole_array_says_what_it_can_lose(metrics: ModuleType, block: Path) -> None:
    text = written(metrics, block)
    for line in (
        "disks{%s} 4",
        "disks_missing{%s} 0",
        "disks_failed{%s} 0",
        "disks_spare{%s} 1",
        "disks_may_die{%s} 1",
    ):
        assert f"stronghold_md_{line}\n" % 'array="hot",level="raid5"' in text
    assert "sync" not in text


def test_a_declared_array_that_is_not_there_is_down(metrics: ModuleType, block: Path) -> None:
    text = written(metrics, block)
    assert 'stronghold_md_up{array="hot"} 1\n' in text
    assert 'stronghold_md_up{array="cold"} 0\n' in text


def test_an_array_that_has_not_started_is_down(metrics: ModuleType, block: Path) -> None:
    (block / "md127/md/array_state").write_text("inactive\n")
    assert 'stronghold_md_up{array="hot"} 0\n' in written(metrics, block)


def test_a_lost_disk_is_missing_and_a_rebuild_says_how_far_it_is(metrics: ModuleType, block: Path) -> None:
    md = block / "md127/md"
    (md / "dev-nvme1n1/state").write_text("faulty\n")
    (md / "dev-nvme4n1/slot").write_text("1\n")
    (md / "sync_action").write_text("recover\n")
    (md / "sync_completed").write_text("100 / 400\n")
    text = written(metrics, block)
    for line in ("disks_missing{%s} 1", "disks_failed{%s} 1", "disks_spare{%s} 0", "disks_may_die{%s} 0"):
        assert f"stronghold_md_{line}\n" % 'array="hot",level="raid5"' in text
    assert 'stronghold_md_sync_progress_ratio{array="hot",level="raid5",action="recover"} 0.25\n' in text


def test_every_name_has_its_help_before_its_samples(metrics: ModuleType, block: Path) -> None:
    text = written(metrics, block)
    for name in {line.split("{")[0] for line in text.splitlines() if not line.startswith("#")}:
        assert text.index(f"# TYPE {name} gauge") < text.index(f"\n{name}")


def test_events_of_other_arrays_and_kinds_are_kept(metrics: ModuleType) -> None:
    text = metrics.told("", "Fail", "hot", 100.0)
    text = metrics.told(text, "RebuildStarted", "hot", 200.0)
    text = metrics.told(text, "Fail", "warm", 300.0)
    text = metrics.told(text, "Fail", "hot", 1790000400.5)
    assert 'seconds{array="hot",event="Fail"} 1790000400' in text
    assert 'seconds{array="hot",event="RebuildStarted"} 200\n' in text
    assert 'seconds{array="warm",event="Fail"} 300\n' in text
    assert text.count("Fail") == 2


def test_an_event_reaches_the_journal_and_both_files(
    metrics: ModuleType, block: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = block.parent / "node-exporter"
    for name, value in (
        ("FOLDER", folder),
        ("BLOCK", block),
        ("LINKS", block.parent / "md"),
        ("ARRAYS", folder / "x"),
    ):
        monkeypatch.setattr(metrics, name, value)
    metrics.main(["Fail", str(block / "md127"), "/dev/nvme1n1"])
    assert capsys.readouterr().out.startswith("<2>array hot (")
    assert 'event="Fail"' in (folder / "stronghold_md_events.prom").read_text()
    assert "stronghold_md_collected_timestamp_seconds " in (folder / "stronghold_md.prom").read_text()
    assert [path.name for path in folder.iterdir() if path.suffix != ".prom"] == []

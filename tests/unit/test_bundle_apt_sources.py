# SPDX-License-Identifier: GPL-3.0-or-later
"""Where packages come from. All texts are constructed, in the formats of sources.list(5) and apt-cache(8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.stronghold.llm.plugins.module_utils.bundle.apt_sources import (
    debian_mirrors,
    disable_others,
    foreign,
    parse_file,
    pip_indexes,
    policy_origins,
    read_folder,
)

DEB822 = """\
# The archive.
Types: deb deb-src
URIs: https://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

types: deb
# a comment inside a stanza
uris: https://security.example/debian-security
suites: bookworm-security
components: main

Enabled: no
Types: deb
URIs: https://off.example/debian
Suites: trixie
Components: main
"""

ONE_LINE = """\
# deb http://off.example/debian trixie main
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian trixie main contrib # note
deb-src http://mirror.example/debian trixie main
deb cdrom:[Debian 13]/ trixie main
deb http://mirror.example/debian-security trixie-security main
"""


def test_both_formats_name_the_archive_and_the_security_archive() -> None:
    assert debian_mirrors(parse_file("x.sources", DEB822)) == (
        "https://mirror.example/debian",
        "https://security.example/debian-security",
    )
    assert debian_mirrors(parse_file("sources.list", ONE_LINE)) == (
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deb http://vendor.example/apt vendor-bookworm main\n", ("", "")),
        ("deb http://vendor.example/apt nodistro main\n", ("", "")),
        ("deb-src http://mirror.example/debian trixie main\n", ("", "")),
        ("deb http://mirror.example/debian trixie non-free\n", ("", "")),
        ("deb http://mirror.example/debian trixie-backports main\n", ("", "")),
        ("deb http://mirror.example/debian stable main\n", ("http://mirror.example/debian", "")),
        (
            "deb http://old.example/debian-security bullseye/updates main\n",
            ("", "http://old.example/debian-security"),
        ),
        (
            "deb mirror+file:/etc/apt/mirrors/debian.list trixie main\n",
            ("mirror+file:/etc/apt/mirrors/debian.list", ""),
        ),
    ],
)
def test_another_vendors_source_is_not_taken_for_debian(text: str, expected: tuple[str, str]) -> None:
    assert debian_mirrors(parse_file("sources.list", text)) == expected


def test_a_disabled_entry_is_not_a_source_and_continued_fields_are_read() -> None:
    found = parse_file("x.sources", DEB822)
    assert len(found) == 2
    assert found[0].components == ("main", "contrib")
    assert found[0].types == ("deb", "deb-src")


def test_a_second_source_is_seen_as_foreign_in_either_format() -> None:
    own = parse_file("own.sources", "Types: deb\nURIs: https://mgmt1/debian/\nSuites: stronghold\n")
    assert foreign(own, ["https://mgmt1/debian"]) == []
    for name, text in (("x.list", "deb http://mirror.example/ ./\n"), ("x.sources", DEB822)):
        assert foreign([*own, *parse_file(name, text)], ["https://mgmt1/debian"])


def test_a_source_with_one_foreign_url_among_ours_is_foreign() -> None:
    mixed = "Types: deb\nURIs: https://mgmt1/debian https://mirror.example/debian\nSuites: stronghold\n"
    assert foreign(parse_file("x.sources", mixed), ["https://mgmt1/debian"])


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    own = tmp_path / "sources.list.d/stronghold.sources"
    own.write_text("Types: deb\nURIs: https://mgmt1/debian\nSuites: stronghold\n")
    (tmp_path / "sources.list.d/readme.txt").write_text("deb http://ignored.example/ x main\n")
    return tmp_path


def test_every_other_source_is_disabled_and_none_is_deleted(apt: Path) -> None:
    keep = apt / "sources.list.d/stronghold.sources"
    assert len(disable_others(apt, keep, dry_run=True)) == 2
    assert len(read_folder(apt)) > 1  # a dry run touches nothing
    assert len(disable_others(apt, keep)) == 2
    assert [source.uris for source in read_folder(apt)] == [("https://mgmt1/debian",)]
    assert (apt / "sources.list.disabled-by-stronghold").read_text() == ONE_LINE
    assert (apt / "sources.list.d/readme.txt").exists()
    assert disable_others(apt, keep) == []


def test_a_source_that_comes_back_does_not_overwrite_the_one_disabled_before(apt: Path) -> None:
    keep = apt / "sources.list.d/stronghold.sources"
    disable_others(apt, keep)
    (apt / "sources.list").write_text("deb http://second.example/debian trixie main\n")
    disable_others(apt, keep)
    assert (apt / "sources.list.disabled-by-stronghold").read_text() == ONE_LINE
    assert "second" in (apt / "sources.list.2.disabled-by-stronghold").read_text()


POLICY = """\
Package files:
 100 /var/lib/dpkg/status
     release a=now
 500 https://mgmt1/debian stronghold/main amd64 Packages
     release o=stronghold,a=stronghold,n=stronghold,l=stronghold,c=main,b=amd64
     origin mgmt1
 -10 http://mirror.example/debian sid/main amd64 Packages
     release o=Debian
Pinned packages:
     nginx -> 1.26 with priority 900
"""


def test_every_origin_of_candidates_is_seen_pinned_down_ones_too() -> None:
    assert policy_origins(POLICY) == [
        "/var/lib/dpkg/status",
        "https://mgmt1/debian stronghold/main amd64 Packages",
        "http://mirror.example/debian sid/main amd64 Packages",
    ]


def test_pips_index_is_seen_in_any_spelling() -> None:
    text = "[global]\nindex-url = https://one.example/\n Extra-Index-URL: https://two.example\ncert = /x\n"
    assert len(pip_indexes({"/etc/pip.conf": text})) == 2
    assert pip_indexes({"/etc/pip.conf": "[global]\nno-index = true\n# index-url = x\n"}) == []

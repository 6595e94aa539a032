# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers under test, once for a session. STRONGHOLD_S3_SERVERS names them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.contract import servers

START = {"minio": servers.minio, "versitygw": servers.versitygw}
NAMES = os.environ.get("STRONGHOLD_S3_SERVERS", "minio").split(",")


@pytest.fixture(scope="session", params=NAMES)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.Running]:
    """Each of the named servers in turn."""
    with START[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Running]:
    """A MinIO of the module's own, empty at first."""
    with servers.minio(tmp_path_factory.mktemp("minio")) as running:
        yield running

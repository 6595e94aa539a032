# SPDX-License-Identifier: GPL-3.0-or-later
"""Gathers the claims of a run into evidence.json and a page for people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ansible import context
from ansible.executor.stats import AggregateStats
from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook import Playbook
from ansible.plugins.callback import CallbackBase
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.claims import (
    Claim,
    merge,
    settle,
    summarise,
)
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.report import LABELS, Run
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.store import (
    read_evidence,
    write_evidence,
)

DOCUMENTATION = r"""
name: evidence
type: notification
short_description: The claims of a run, as evidence.json and index.html
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Gathers what M(stronghold.llm.claim) states during a run, and at its end writes it as data and as one
    self-contained page, in one step each, so that there is always a complete report.
  - A run without claims, a run in check mode and a run that is killed leave the earlier report as it is.
  - A run with a limit or tags replaces the claims that it looked at; the others stay, with their own time.
  - A claim that is stated more than once about one host has the worst status of them.
requirements:
  - C(callbacks_enabled = stronghold.llm.evidence) in ansible.cfg
options:
  evidence_dir:
    description:
      - Folder of the report.
      - Without it, C(build/evidence) in the nearest folder above the playbook that has an ansible.cfg,
        or else in the working directory.
    type: path
    env:
      - name: STRONGHOLD_EVIDENCE_DIR
    ini:
      - section: callback_evidence
        key: evidence_dir
"""


class CallbackModule(CallbackBase):
    """Listens, and writes when the run is over."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "stronghold.llm.evidence"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._claims: list[Claim] = []
        self._playbook = Path()

    def v2_playbook_on_start(self, playbook: Playbook) -> None:
        self._playbook = Path(playbook._file_name).resolve()

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        # A loop reports each item on its own first; its own result then has no `claim`.
        if result.task.resolved_action == "stronghold.llm.claim" and "claim" in result.result:
            self._claims.append(Claim.from_record(result.result["claim"]))

    v2_runner_item_on_ok = v2_runner_on_ok

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        if not self._claims or context.CLIARGS["check"]:
            return
        project = project_of(self._playbook)
        folder = Path(self.get_option("evidence_dir") or project / "build" / "evidence")
        run = self._run(project)
        try:
            claims = merge(read_evidence(folder) if run.scope else [], settle(self._claims))
            page = write_evidence(folder, claims, run)
        except OSError as error:
            self._display.error(f"The evidence of this run is lost, an earlier report is untouched: {error}")
            return
        counts = ", ".join(f"{count} {LABELS[status]}" for status, count in summarise(claims).items())
        self._display.display(f"Evidence: {counts}: {page}")

    def _run(self, project: Path) -> Run:
        given = context.CLIARGS
        scope = {
            "limit": given["subset"] or "",
            "tags": ",".join(tag for tag in given["tags"] if tag != "all"),
        }
        return Run(
            playbook=_within(self._playbook, project),
            inventory=", ".join(_within(Path(source), project) for source in given["inventory"]),
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            scope="; ".join(f"{name} {text}" for name, text in scope.items() if text),
        )


def project_of(playbook: Path) -> Path:
    """The clone or site folder that a playbook belongs to, which is not always the working directory."""
    return next((above for above in playbook.parents if (above / "ansible.cfg").is_file()), Path.cwd())


def _within(path: Path, project: Path) -> str:
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)

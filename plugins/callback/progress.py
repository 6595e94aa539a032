# SPDX-License-Identifier: GPL-3.0-or-later
"""Says which phase a run is in, and what it changes; with -v it says everything."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from typing import Any

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.claims import Claim

DOCUMENTATION = r"""
name: progress
type: stdout
short_description: Phase n of m, what changed, what failed
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Each named play is a phase, with its number and the time since the start. Below it stand the tasks that
    changed something, the claims, and failures in full, as P(ansible.builtin.default#callback) prints them.
  - On a terminal a last line that is rewritten shows the running task and its time so far.
  - With C(-v) and more it prints what P(ansible.builtin.default#callback) prints, with the phases between.
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
"""

COLORS = {"FAILED": C.COLOR_ERROR, "not proven": C.COLOR_WARN, "proven": C.COLOR_OK}


class CallbackModule(DefaultCallback):
    """The default callback, quiet about what is as it should be."""

    CALLBACK_NAME = "stronghold.llm.progress"

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()
        self._phases: dict[str, str] = {}
        self._heading = ""
        self._quiet = self._display.verbosity == 0
        if self._quiet and sys.stdout.isatty():
            self._display = StatusLine(self._display)

    def set_options(self, *args: Any, **kwargs: Any) -> None:
        super().set_options(*args, **kwargs)
        if self._quiet:
            self._plugin_options["display_skipped_hosts"] = False

    def v2_playbook_on_start(self, playbook: Any) -> None:
        super().v2_playbook_on_start(playbook)
        # Now, as a play without a name gets the names of its hosts for one later.
        named = [play._uuid for play in playbook.get_plays() if play.name]
        self._phases = {uuid: f"[{number}/{len(named)}]" for number, uuid in enumerate(named, 1)}

    def v2_playbook_on_play_start(self, play: Any) -> None:
        phase = self._phases.pop(play._uuid, "")  # once: each batch of hosts starts its play again
        self._heading = phase and f"{phase} {play.get_name().strip()}"
        self._play = play
        if not self._quiet:
            super().v2_playbook_on_play_start(play)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        if not self._quiet:
            super().v2_playbook_on_no_hosts_matched()

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        if self._heading:  # not before: a play that --tags leaves without tasks is no phase of this run
            self._say(f"{self._heading}  ({_clock(self._began)})")
            self._heading = ""
        super()._task_start(task, prefix)
        if isinstance(self._display, StatusLine):
            self._display.show(f"  {task.get_name().strip()}")

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if not self._quiet:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._report(result)
        if not self._quiet:
            super().v2_runner_on_ok(result)
        elif result.result.get("changed"):
            self._line("changed", self.host_label(result), result.task_name, color=C.COLOR_CHANGED)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._report(result)
        if not self._quiet:
            super().v2_runner_item_on_ok(result)

    def _report(self, result: Any) -> None:
        """What is worth a line even if nothing changed: warnings, what debug says, and claims."""
        seen, task = result.result, result.task
        if self._quiet:
            self._handle_warnings_and_exception(result)
        if self._quiet and task.action in C._ACTION_DEBUG and "results" not in seen:
            self._line("says", self.host_label(result), str(seen.get("msg") or self._dump_results(seen)))
        if task.resolved_action == "stronghold.llm.claim" and "claim" in seen:
            claim = Claim.from_record(seen["claim"])
            word = "FAILED" if claim.status == "failed" else claim.status.replace("_", " ")
            self._line(word, claim.id, claim.host, claim.why[:200], color=COLORS[word])

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if isinstance(self._display, StatusLine):
            self._display.show("")
        super().v2_playbook_on_stats(stats)
        self._say(f"Total time {_clock(self._began)}")

    def _line(self, word: str, *columns: str, color: str | None = None) -> None:
        self._say("  ".join(["", f"{word:10}", *filter(None, columns)]), color)

    def _say(self, text: str, color: str | None = None) -> None:
        self._display.display(text, color=color)
        sys.stdout.flush()  # Ansible leaves it to the buffer: a log that someone follows would lag behind


class StatusLine:
    """Ansible's display, with a last line that is rewritten twice a second and erased before each print.

    It goes past sys.stdout, whose lock a process forked just then would inherit locked.
    """

    def __init__(self, display: Any) -> None:
        self._under, self._text, self._since = display, "", 0.0
        threading.Thread(target=self._rewrite, daemon=True).start()

    def __getattr__(self, name: str) -> Any:
        os.write(sys.stdout.fileno(), b"\r\033[K")
        return getattr(self._under, name)

    def show(self, text: str) -> None:
        self._text, self._since = text, time.monotonic()

    def _rewrite(self) -> None:
        while True:
            time.sleep(0.5)
            if self._text:
                text = self._text[: shutil.get_terminal_size().columns - len("  (00:00) ")]
                os.write(sys.stdout.fileno(), f"\r\033[K{text}  ({_clock(self._since)})\r".encode())


def _clock(since: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - since), 60)
    return f"{minutes:02}:{seconds:02}"

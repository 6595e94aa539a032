# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that dies once anything was changed: run again and again, it dies after each such task."""

from __future__ import annotations

import os
import signal

from ansible.executor.task_result import CallbackTaskResult
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: killed_after_change
type: aggregate
short_description: Kills the run after the first task that changed something
description: [For tests of what the next run makes of it.]
author: The stronghold.llm maintainers (@stronghold)
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "killed_after_change"

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        if result.is_changed():
            print(f"KILLED after: {result.task_name}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

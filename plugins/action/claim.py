# SPDX-License-Identifier: GPL-3.0-or-later
"""A claim: evaluates its conditions as assert does, records what it saw, and lets the play go on."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.stronghold.llm.plugins.module_utils.evidence.claims import (
    ID_PATTERN,
    Claim,
    Condition,
)

MAY_BE_UNDEFINED = ("that", "value", "unless")


class ActionModule(ActionBase):
    """Answers on the controller, from what earlier tasks have registered."""

    _requires_connection = False

    @classmethod
    def finalize_task_arg(cls, name: str, value: Any, templar: Any, context: Any) -> Any:
        # Templated here, an undefined variable would fail the task. In run() it is a finding.
        return value if name in MAY_BE_UNDEFINED else super().finalize_task_arg(name, value, templar, context)

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        args = self._arguments()
        unless, no_reason = self._seen("unless", args["unless"])
        value, no_value = self._seen("value", args["value"])
        that = self._conditions(args["that"])
        if not isinstance(unless, str | None):
            raise AnsibleActionFail(f"{args['id']}: unless is {unless!r}, not the text of a reason")
        reason = (unless or "").strip()
        if not (that or reason or no_reason):
            raise AnsibleActionFail(f"{args['id']} states no condition: fill that, or say why in unless")
        claim = Claim.judged(
            id=args["id"],
            host=(task_vars or {})["inventory_hostname"],
            how=args["how"],
            value=value,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            conditions=[*no_reason, *map(self._evaluated, that), *no_value],
            unless=reason,
            check_mode=self._task.check_mode,
            figure=_drawing(args),
        )
        return result | {"changed": False, "claim": asdict(claim), "ansible_facts": _note(claim)}

    def _arguments(self) -> dict[str, Any]:
        _, args = self.validate_argument_spec(
            argument_spec={
                "id": {"type": "str", "required": True},
                "how": {"type": "str", "required": True},
                "that": {"type": "raw", "default": []},
                "value": {"type": "raw"},
                "unless": {"type": "raw"},
                "figure": {"type": "path", "default": ""},
            },
        )
        name: str = args["id"]
        wrong = {
            f"id {name!r} is not two or more words of a-z, 0-9 and _ joined by dots, as in edge.tls13_only": (
                not ID_PATTERN.fullmatch(name)
            ),
            f"{name} does not say how it is proven: fill how": not args["how"].strip(),
            f"{name} is evidence, which no_log would hide: leave secrets out of value": self._task.no_log,
            f"{name} would be filed under another host: remove delegate_facts": self._task.delegate_facts,
        }
        for message, so in wrong.items():
            if so:
                raise AnsibleActionFail(message)
        return args

    def _seen(self, name: str, template: Any) -> tuple[Any, list[Condition]]:
        try:
            return self._templar.template(template), []
        except AnsibleError as error:
            return None, [Condition(name, False, str(error))]

    def _conditions(self, that: Any) -> list[Any]:
        # A template that is the whole argument names a list of conditions, as assert allows.
        if isinstance(that, str) and that.startswith("{{") and that.endswith("}}"):
            found, _ = self._seen("that", that)
            that = found if isinstance(found, list) else that
        return that if isinstance(that, list) else [that] if that not in (None, "") else []

    def _evaluated(self, conditional: Any) -> Condition:
        try:
            return Condition(str(conditional), self._templar.evaluate_conditional(conditional))
        except AnsibleError as error:
            return Condition(str(conditional), False, str(error))


def _drawing(args: dict[str, Any]) -> str:
    if not args["figure"]:
        return ""
    try:
        return Path(args["figure"]).read_text()
    except OSError as error:
        raise AnsibleActionFail(f"{args['id']}: figure {args['figure']}: {error.strerror}") from error


def _note(claim: Claim) -> dict[str, Any]:
    """A failed claim as a fact of its host, for the last play of verify to find.

    Each has a name of its own: one list for all would lose claims, as the items of a loop do not see each
    other's facts, and run_once copies the facts of one host to the others.
    """
    if claim.status != "failed":
        return {}
    note = {"host": claim.host, "text": f"{claim.id} on {claim.host}: {claim.why}"}
    return {f"stronghold_failed_claim_{uuid4().hex}": note}

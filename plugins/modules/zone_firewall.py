# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a host's firewall, changed in two steps with a way back between them."""

DOCUMENTATION = r"""
module: zone_firewall
short_description: Apply a firewall that takes itself back unless somebody confirms that they still get in
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - V(applied) loads the ruleset and arms a timer that brings the previous table back. V(confirmed), which a
    controller reaches over a new connection only, disarms it and makes the ruleset the one that boots
    (C(nftables.service) is enabled, and its stop no longer flushes every table of the host).
  - Rulesets are compared as the kernel holds them. The wanted one is loaded into an empty network namespace,
    which also proves that it is valid, and a rule that somebody added or deleted by hand is a difference.
  - Killed at any point, the host goes back by itself to the table it had, and the next run begins anew.
  - Only the table C(inet stronghold) is touched.
options:
  state:
    description: The step to take.
    type: str
    choices: [applied, confirmed]
    default: applied
  ruleset:
    description: The nftables script, as the filter P(stronghold.llm.nft_ruleset#filter) writes it.
    type: str
    required: true
  rollback_seconds:
    description: How long an applied ruleset waits to be confirmed.
    type: int
    default: 30
attributes:
  check_mode:
    description: Compares and loads nothing. Without nft on the host every ruleset is a change.
    support: full
  diff_mode:
    description: Shows the live table against the wanted one, and the file that boots.
    support: full
  platform:
    description: The systems it works on.
    platforms: debian
    support: full
seealso:
  - plugin: stronghold.llm.nft_ruleset
    plugin_type: filter
"""

EXAMPLES = r"""
- name: The firewall is live, and takes itself back unless confirmed
  stronghold.llm.zone_firewall:
    ruleset: "{{ zones | stronghold.llm.nft_ruleset(matrix, hosts, inventory_hostname) }}"
  register: applied

- name: The host lets a new connection in
  ansible.builtin.wait_for_connection:
    timeout: 20
  when: applied is changed

- name: The firewall stays
  stronghold.llm.zone_firewall:
    state: confirmed
    ruleset: "{{ zones | stronghold.llm.nft_ruleset(matrix, hosts, inventory_hostname) }}"
  when: applied is changed
"""

RETURN = r"""
interrupted:
  description: An earlier run had been killed before it confirmed, and its ruleset was taken back first.
  returned: when applied
  type: bool
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.zones import commands, firewall


def shown(differences: list[firewall.Difference]) -> list[dict[str, str]]:
    return [{"before_header": each.name, "after_header": each.name, **asdict(each)} for each in differences]


def apply(module: AnsibleModule, wanted: firewall.Firewall) -> None:
    if module.check_mode and not module.get_bin_path("nft"):
        nothing = firewall.Difference("the live table", "", wanted.ruleset)
        module.exit_json(changed=True, diff=shown([nothing]), interrupted=False)
    interrupted = wanted.interrupted()
    if interrupted and not module.check_mode:
        wanted.take_back()
    differences = wanted.differences()
    if differences and not module.check_mode:
        wanted.apply(module.params["rollback_seconds"])
    module.exit_json(changed=bool(differences), diff=shown(differences), interrupted=interrupted)


def confirm(module: AnsibleModule, wanted: firewall.Firewall) -> None:
    if module.check_mode:
        module.exit_json(changed=False)
    changed = bool(wanted.differences())
    wanted.confirm()
    module.exit_json(changed=changed)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["applied", "confirmed"], "default": "applied"},
            "ruleset": {"type": "str", "required": True},
            "rollback_seconds": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    wanted = firewall.Firewall(
        ruleset=module.params["ruleset"],
        run=lambda command, data: module.run_command(list(command), data=data),
    )
    step = apply if module.params["state"] == "applied" else confirm
    try:
        step(module, wanted)
    except (commands.CommandError, firewall.TakenBackError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()

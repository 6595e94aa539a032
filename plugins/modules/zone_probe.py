# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: knocks on every address it is given, all at once, and says which way was open."""

DOCUMENTATION = r"""
module: zone_probe
short_description: Try which addresses and ports this host can reach, and compare with what is expected
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Tries all cases at the same time, from the host on which it runs, and changes nothing.
  - A refused connection counts as reached, as the packet came through every firewall on its way. Only silence
    (C(filtered)), or no way to send at all (C(unreachable)), proves that a way is closed.
  - Silence on a way that is expected to be open is asked once more, with three times the patience.
  - It never fails because of what it sees; RV(wrong) names the cases that are not as expected.
options:
  cases:
    description: What to try. The filter P(stronghold.llm.zone_cells#filter) makes them from a zone matrix.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the case is called in the results.
        type: str
        required: true
      host:
        description: Whose address it is, for the reader.
        type: str
      address:
        description: IPv4 or IPv6 address.
        type: str
        required: true
      port:
        description: Port, for all but V(icmp).
        type: int
      proto:
        description: V(dns) is a real question over UDP, V(icmp) an echo request.
        type: str
        choices: [tcp, udp, icmp, dns]
        default: tcp
      expect:
        description: What the matrix says.
        type: str
        choices: [open, closed]
        required: true
  timeout:
    description: Seconds that an answer may take.
    type: float
    default: 1.0
attributes:
  check_mode:
    description: It only looks, so it also runs in check mode.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  platform:
    description: The systems it works on.
    platforms: debian
    support: full
notes:
  - Needs root, for the echo requests.
"""

EXAMPLES = r"""
- name: Every cell of the matrix is tried from here
  stronghold.llm.zone_probe:
    cases: "{{ zones | stronghold.llm.zone_cells(matrix, hosts, inventory_hostname) }}"
  register: probed

- name: The core is reached at the model's port, and nowhere else
  stronghold.llm.zone_probe:
    cases:
      - {name: model, address: 10.77.30.11, port: 8443, expect: open}
      - {name: ssh, address: 10.77.30.11, port: 22, expect: closed}
"""

RETURN = r"""
results:
  description: The cases in their order, each with its outcome.
  returned: always
  type: list
  elements: dict
  sample:
    - {name: model, address: 10.77.30.11, port: 8443, proto: tcp, outcome: open, passed: true}
cells:
  description: How many cases were tried.
  returned: always
  type: int
outcomes:
  description: How many were open, refused, filtered, unreachable.
  returned: always
  type: dict
  sample: {open: 1, refused: 0, filtered: 1, unreachable: 0}
wrong:
  description: The cases that are not as expected, each with its outcome.
  returned: always
  type: list
  elements: str
  sample: ["client1 to core1 tcp/22 ipv4: open"]
default_routes:
  description: Routes of this host that lead to everywhere, of any routing table.
  returned: always
  type: list
  elements: str
resolvers:
  description: Name servers in C(/etc/resolv.conf).
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.zones import knock, probe, ways_out

RESOLV_CONF = Path("/etc/resolv.conf")
CASE = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str"},
    "address": {"type": "str", "required": True},
    "port": {"type": "int"},
    "proto": {"type": "str", "choices": ["tcp", "udp", "icmp", "dns"], "default": "tcp"},
    "expect": {"type": "str", "choices": ["open", "closed"], "required": True},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cases": {"type": "list", "elements": "dict", "required": True, "options": CASE},
            "timeout": {"type": "float", "default": 1.0},
        },
        supports_check_mode=True,
    )
    cases = [probe.Case(**{**case, "host": case["host"] or ""}) for case in module.params["cases"]]
    outcomes = knock.knock_all(cases, module.params["timeout"])
    results = [probe.result(case, outcome) for case, outcome in zip(cases, outcomes, strict=True)]
    routes = [
        module.run_command(["ip", "--json", family, "route", "show", "table", "all"], check_rc=True)[1]
        for family in ("-4", "-6")
    ]
    module.exit_json(
        results=results,
        **probe.summary(results),
        default_routes=ways_out.default_routes(*routes),
        resolvers=ways_out.resolvers(RESOLV_CONF.read_text() if RESOLV_CONF.exists() else ""),
    )


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a hole in this host's firewall for some seconds, as a probe's positive control."""

DOCUMENTATION = r"""
module: zone_hole
short_description: Open a hole in the host's firewall for some seconds, to see that a probe can see it
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - A probe that finds everything closed may be a broken probe. This opens what it is to find, and closes it.
  - The hole is an element with a timeout in a set of the firewall that P(stronghold.llm.nft_ruleset#filter)
    writes. The kernel takes it out when its time is up, also when everything that opened it is dead.
  - It leaves nothing behind, so it never reports a change.
options:
  state:
    description:
      - V(closed) closes every hole of the host at once, and says whether one is left.
      - V(routed) opens none and only adds the routes, so that nothing but the firewall is in the way.
    type: str
    choices: [open, routed, closed]
    default: open
  peers:
    description: The other ends of the hole, and what may pass between them and this host.
    type: list
    elements: dict
    required: true
    suboptions:
      address:
        description: IPv4 or IPv6 address.
        type: str
        required: true
      proto:
        description: V(dns) is UDP, V(icmp) an echo request.
        type: str
        choices: [tcp, udp, icmp, dns]
        default: tcp
      port:
        description: Port at the end that answers, for all but V(icmp).
        type: int
  gateways:
    description:
      - Where there is no route to the peers, the routers (C(ipv4), C(ipv6)) through which they are reached as
        long as the hole is open. A timer takes the routes away too, should nobody close the hole.
    type: dict
    default: {}
  seconds:
    description: How long the hole stays, unless it is closed before.
    type: int
    default: 15
attributes:
  check_mode:
    description: Opens nothing in check mode.
    support: full
  diff_mode:
    description: There is no lasting state to compare.
    support: none
  platform:
    description: The systems it works on.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: A way to the outside is open for 15 seconds
  stronghold.llm.zone_hole:
    peers: [{address: 198.51.100.53, proto: tcp, port: 443}]
    gateways: {ipv4: 10.77.30.1}
"""

RETURN = r"""
left_open:
  description: Sets of the firewall that still hold a hole, or why the firewall could not be read.
  returned: when closed
  type: list
  elements: str
"""

from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.zones import commands, holes, ruleset

PEER = {
    "address": {"type": "str", "required": True},
    "proto": {"type": "str", "choices": ["tcp", "udp", "icmp", "dns"], "default": "tcp"},
    "port": {"type": "int"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["open", "routed", "closed"], "default": "open"},
            "peers": {"type": "list", "elements": "dict", "required": True, "options": PEER},
            "gateways": {"type": "dict", "default": {}},
            "seconds": {"type": "int", "default": ruleset.CONTROL_SECONDS},
        },
        supports_check_mode=True,
    )
    state, seconds = module.params["state"], module.params["seconds"]
    peers = [holes.Peer(**peer) for peer in module.params["peers"]]
    routes = holes.routes([peer.address for peer in peers], module.params["gateways"])

    def run(command: Sequence[str], data: str) -> tuple[int, str, str]:
        return module.run_command(list(command), data=data)

    if state == "closed":
        module.exit_json(left_open=holes.close(run, routes))
    if not module.check_mode:
        try:
            holes.open_for(run, seconds, routes, peers if state == "open" else [])
        except commands.CommandError as error:
            message = commands.first_line(str(error))
            module.fail_json(msg=f"no hole could be opened, was the role network_zones run? {message}")
    module.exit_json()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

DOCUMENTATION = r"""
module: claim
short_description: State something about a host, with the proof
version_added: 0.1.0
author: The stronghold.llm maintainers (@stronghold)
description:
  - Evaluates its conditions as M(ansible.builtin.assert) does, and records the answer as C(proven), C(failed)
    or C(not_proven), with what was seen and how. The task does not fail, so all claims are checked.
  - The callback plugin P(stronghold.llm.evidence#callback) gathers the claims of a run into one report.
  - A failed claim is also a fact of its host, C(stronghold_failed_claim_...), for a last play that fails and
    names it, as in the second example; a callback plugin cannot fail a run.
  - It only fails on wrong arguments.
options:
  id:
    description: Name of the claim, two or more words joined by dots. The first word groups the report.
    type: str
    required: true
  that:
    description:
      - Conditions, all of which must hold. Required unless O(unless) gives a reason.
      - A condition that cannot be evaluated, for instance because of an undefined variable, does not hold.
      - In check mode a condition that does not hold makes the claim C(not_proven), as what it looks at may
        not be made yet.
    type: list
    elements: raw
    default: []
  how:
    description: How the answer was found, in a sentence that an auditor can follow.
    type: str
    required: true
  value:
    description: What was seen, any data. It is published in the report, so it holds no secret.
    type: raw
  unless:
    description: Why the claim cannot be proven here. Not empty, it makes the claim C(not_proven).
    type: str
  figure:
    description: An SVG file on the controller that shows what was seen; it becomes a part of the report.
    type: path
    default: ""
attributes:
  check_mode:
    description: Evaluates its conditions in check mode too.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
notes:
  - C(no_log) and C(delegate_facts) are refused, as they would hide the claim or file it under another host.
  - A loop may state the same O(id) several times for one host. The worst status then stands in the report.
seealso:
  - module: ansible.builtin.assert
"""

EXAMPLES = r"""
- name: Only TLS 1.3 is spoken at the edge
  stronghold.llm.claim:
    id: edge.tls13_only
    that:
      - handshake.tls13 == 'accepted'
      - handshake.tls12 == 'refused'
    how: handshakes from the client zone, one for each version
    value: "{{ handshake }}"

- name: All claims of this run hold
  ansible.builtin.assert:
    that: failed | length == 0
    fail_msg: "{{ failed | map(attribute='text') | sort | join('\n') }}"
    quiet: true
  vars:
    facts: "{{ ansible_facts | dict2items | selectattr('key', 'match', 'stronghold_failed_claim_') }}"
    failed: "{{ facts | map(attribute='value') | selectattr('host', 'eq', inventory_hostname) }}"
"""

RETURN = r"""
claim:
  description: The claim, as the report shows it.
  returned: success
  type: dict
  sample:
    id: edge.tls13_only
    status: failed
    host: edge1
    how: handshakes from the client zone, one for each version
    value: {tls12: accepted, tls13: accepted}
    when: "2026-11-25T02:40:22+00:00"
    reason: ""
    failed_conditions:
      - handshake.tls12 == 'refused'
"""

#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: http_probe
short_description: Ask an HTTPS server many questions, and see whether it answers as it must
description:
  - Sends each case as it is written, from the host that the task runs on, a few at a time. What a server or a
    network does never fails the task; it is in the result, for a claim to judge.
  - Changes nothing. Python's standard library only, and the C(openssl) command for control cases.
author: [The stronghold.llm maintainers (@stronghold)]
options:
  url:
    description: The server, as C(https://HOST:PORT).
    type: str
    required: true
  server_hostname:
    description:
      - The name that the server's certificate must hold; also the Host header. By default the host of I(url).
    type: str
    default: ""
  ca_path:
    description: The root that vouches for the server.
    type: path
    required: true
  bearer:
    description: An API key, sent as C(Authorization) by the cases that do not say otherwise.
    type: str
    default: ""
  timeout:
    description: How long one case may wait for the server, in seconds.
    type: float
    default: 30
  cases:
    description: The questions.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: What is asked., type: str, required: true}
      group: {description: Cases of one group are reported together., type: str, default: ""}
      method: {description: The HTTP method., type: str, default: GET}
      path: {description: "Path and query, sent byte by byte as they are.", type: str, default: /}
      headers: {description: Headers beside those that HTTP asks for., type: dict, default: {}}
      body: {description: "Text is sent as it is; anything else as JSON.", type: raw}
      bearer: {description: Whether I(bearer) is sent., type: bool, default: true}
      tls: {description: The only TLS version offered., type: str, choices: ["1.2", "1.3"]}
      control:
        description: Ask a throw-away listener on loopback, which speaks TLS 1.2 and 1.3, not the server.
        type: bool
        default: false
      expect_status: {description: The statuses that pass., type: list, elements: int, default: []}
      expect_body: {description: A piece of text that a passing answer holds., type: str, default: ""}
      expect_error:
        description: >-
          How the connection must fail, from the beginning of the error: C(tls), C(certificate), C(timeout) or
          C(connection).
        type: str
        default: ""
attributes:
  check_mode: {support: full, description: Asks all the same, as asking changes nothing.}
"""

EXAMPLES = r"""
- name: The edge is asked for what it must not have
  stronghold.llm.http_probe:
    url: https://10.77.20.11:443
    server_hostname: edge1
    ca_path: /etc/stronghold/tls/ca.pem
    cases:
      - {name: metrics, group: unknown, path: /v1/../metrics, expect_status: [404]}
      - {name: TLS 1.2, group: tls, tls: "1.2", expect_error: "tls:"}
      - {name: the probe itself speaks TLS 1.2, group: tls, tls: "1.2", control: true, expect_status: [200]}
  delegate_to: client1
  register: edge
"""

RETURN = r"""
by_group:
  description: The results by group.
  type: dict
  returned: success
  sample:
    unknown:
      asked: 1
      missed: []
      results:
        - {name: metrics, status: 404, error: "", tls_version: TLSv1.3, body_excerpt: "{}", passed: true}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.stronghold.llm.plugins.module_utils.probes import http, wire

CASE = {
    "name": {"type": "str", "required": True},
    "group": {"type": "str", "default": ""},
    "method": {"type": "str", "default": "GET"},
    "path": {"type": "str", "default": "/"},
    "headers": {"type": "dict", "default": {}},
    "body": {"type": "raw"},
    "bearer": {"type": "bool", "default": True},
    "tls": {"type": "str", "choices": ["1.2", "1.3"]},
    "control": {"type": "bool", "default": False},
    "expect_status": {"type": "list", "elements": "int", "default": []},
    "expect_body": {"type": "str", "default": ""},
    "expect_error": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "server_hostname": {"type": "str", "default": ""},
            "ca_path": {"type": "path", "required": True},
            "bearer": {"type": "str", "default": "", "no_log": True},
            "timeout": {"type": "float", "default": 30},
            "cases": {"type": "list", "elements": "dict", "required": True, "options": CASE},
        },
        supports_check_mode=True,
    )
    asked = module.params
    try:
        target = wire.Target.of(asked["url"], asked["server_hostname"], asked["ca_path"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    cases = [http.case(params) for params in asked["cases"]]
    answers = wire.ask_all(cases, target, asked["bearer"], asked["timeout"])
    module.exit_json(changed=False, by_group=http.report(cases, answers))


if __name__ == "__main__":
    main()

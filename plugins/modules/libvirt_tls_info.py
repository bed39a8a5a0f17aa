#!/usr/bin/python
# Copyright (c) 2026, The Lowtide authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_tls_info
short_description: Whether hosts' certificates do for migrations over TLS
version_added: 1.0.0
description:
  - Tries certificates as QEMU and libvirt use them, with their keys and authorities, in TLS
    handshakes in memory. Tells all that is wrong with each - key, signature, purpose, names,
    dates - and which peers would not trust it.
  - Shakes hands with libvirt on other hosts, where it listens for TLS, and waits until that has
    accepted the certificate.
  - Needs no library but Python's own. Private keys are never shown.
extends_documentation_fragment:
  - lowtide.compute.attributes
  - lowtide.compute.attributes.info
  - lowtide.compute.attributes.hypervisor_group
author:
  - The Lowtide authors (@lowtide)
options:
  credentials:
    description: The certificates to try. Each part is given as a text or as the path of a file.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the result calls it.
        type: str
        required: true
      ca:
        description: The authorities that are trusted with it, PEM.
        type: str
      ca_path:
        description: The file with them.
        type: path
      certificate:
        description: The certificate, and those between it and the authority, PEM.
        type: str
      certificate_path:
        description: The file with it.
        type: path
      key:
        description: Its private key, PEM, without a passphrase.
        type: str
      key_path:
        description: The file with it. That others may read it is a fault.
        type: path
      purposes:
        description: Which sides of a connection show it.
        type: list
        elements: str
        choices: [server, client]
        default: [server, client]
      trusted_by:
        description: PEM texts of the authorities that peers trust, by the names of the peers.
        type: dict
        default: {}
  names:
    description: Addresses and names for which certificates of servers must be.
    type: list
    elements: str
    default: []
  days:
    description: Days for which they must still be valid, at least.
    type: float
    default: 0
  peers:
    description: Where to shake hands with libvirt.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the result calls it.
        type: str
        required: true
      address:
        description: The address or name by which the peer is migrated to. Its certificate must be
          for it.
        type: str
        required: true
      port:
        description: The port.
        type: int
        default: 16514
      credentials:
        description: Which of O(credentials) to show, by name.
        type: str
        required: true
  timeout:
    description: Seconds to wait for a peer.
    type: float
    default: 5.0
seealso:
  - module: lowtide.compute.reversible_files
"""

EXAMPLES = r"""
- name: See whether QEMU's certificate will do
  lowtide.compute.libvirt_tls_info:
    credentials:
      - name: qemu
        ca_path: /etc/pki/qemu/ca-cert.pem
        certificate_path: /etc/pki/qemu/server-cert.pem
        key_path: /etc/pki/qemu/server-key.pem
        purposes: [server]
    names: [192.0.2.11]
    days: 14
  become: true
  register: found

- name: Refuse what will not
  ansible.builtin.assert:
    that: found.faults | length == 0
    fail_msg: "{{ found.faults | map(attribute='message') | join('; ') }}"
"""

RETURN = r"""
certificates:
  description: What each certificate says, in the order asked.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Its name in O(credentials)., type: str, sample: qemu}
    subject: {description: Whose it is., type: str, sample: commonName=cmp-1}
    issuer: {description: Who signed it., type: str, sample: commonName=Lowtide migration CA}
    serial: {description: Its serial number., type: str}
    names: {description: The addresses and names it is for., type: list, elements: str}
    days_left:
      description: Days until it expires, negative when it has; null when it cannot be read.
      type: float
      sample: 364.9
faults:
  description: All that is wrong with them; empty when they will do.
  returned: success
  type: list
  elements: dict
  contains:
    code: {description: One word., type: str, sample: expires_soon}
    about: {description: Its name in O(credentials)., type: str, sample: qemu}
    message:
      description: What is wrong.
      type: str
      sample: "qemu: expires in 9.1 days, which is less than 14"
    remedy: {description: What to do about it., type: str, sample: Renew it now}
peers:
  description: How each peer answered.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Its name in O(peers)., type: str, sample: cmp-2}
    address: {description: Where it was asked., type: str, sample: 192.0.2.12}
    port: {description: The port., type: int, sample: 16514}
    state:
      description: V(trusted) when each accepted the other's certificate, V(refused), or V(silent)
        when nothing listens there.
      type: str
      sample: trusted
    message: {description: In words., type: str, sample: each accepts the other's certificate}
    protocol:
      description: What they agreed on.
      returned: when trusted
      type: str
      sample: TLSv1.3
    cipher:
      description: What they agreed on.
      returned: when trusted
      type: str
      sample: TLS_AES_256_GCM_SHA384
msg:
  description: The numbers in one sentence.
  returned: always
  type: str
  sample: 2 certificates, 0 faults; 2 of 2 peers trust us
code:
  description: One word for what went wrong.
  returned: failure
  type: str
  sample: bad_option
remedy:
  description: What to do about it.
  returned: failure
  type: str
"""

from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._errors import BadOption
from ansible_collections.lowtide.compute.plugins.module_utils._gateways import tls
from ansible_collections.lowtide.compute.plugins.module_utils._host_module import (
    HostTask,
    run_on_host,
)
from ansible_collections.lowtide.compute.plugins.module_utils._planner import certificates

SPEC = {
    "credentials": {
        "type": "list",
        "elements": "dict",
        "required": True,
        # A key is a text that nobody else's output contains; a file's path is not secret.
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "ca": {"type": "str"},
            "ca_path": {"type": "path"},
            "certificate": {"type": "str"},
            "certificate_path": {"type": "path"},
            "key": {"type": "str", "no_log": True},
            "key_path": {"type": "path", "no_log": False},
            "purposes": {
                "type": "list",
                "elements": "str",
                "choices": list(tls.PURPOSES),
                "default": list(tls.PURPOSES),
            },
            "trusted_by": {"type": "dict", "default": {}},
        },
        "required_one_of": [(part, f"{part}_path") for part in tls.PARTS],
        "mutually_exclusive": [(part, f"{part}_path") for part in tls.PARTS],
    },
    "names": {"type": "list", "elements": "str", "default": []},
    "days": {"type": "float", "default": 0},
    "peers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 16514},
            "credentials": {"type": "str", "required": True, "no_log": False},
        },
    },
    "timeout": {"type": "float", "default": 5.0},
}


def handle(task: HostTask) -> dict[str, Any]:
    """Try each certificate, then each peer."""
    params, now = task.params, task.clock.now()
    given = {row["name"]: tls.credentials_of(row) for row in params["credentials"]}
    told, faults = [], []
    for row in params["credentials"]:
        own = given[row["name"]]
        seen = tls.examine(own, row["purposes"], params["names"], row["trusted_by"])
        faults += certificates.faults(seen, now, params["days"])
        left = certificates.days_left(seen, now)
        told.append({"name": own.name, **tls.described(own), "days_left": left})
    peers = [_ask(peer, given, params["timeout"]) for peer in params["peers"]]
    trusting = [peer["state"] for peer in peers].count("trusted")
    return {
        "changed": False,
        "certificates": told,
        "faults": [_row(fault) for fault in faults],
        "peers": peers,
        "msg": f"{len(told)} certificates, {len(faults)} faults;"
        f" {trusting} of {len(peers)} peers trust us",
    }


def _row(fault: certificates.Fault) -> dict[str, str]:
    return {
        "code": fault.code,
        "about": fault.about,
        "message": f"{fault.about}: {fault.what}",
        "remedy": fault.remedy,
    }


def _ask(peer: dict[str, Any], given: dict[str, tls.Credentials], timeout: float) -> dict[str, Any]:
    own = given.get(peer["credentials"])
    if own is None:
        raise BadOption(
            "peers.credentials",
            peer["credentials"],
            f"is none of {', '.join(given)}",
            "Name one of `credentials`",
        )
    answer = tls.ask_peer(own, peer["address"], peer["port"], timeout)
    place = {"name": peer["name"], "address": peer["address"], "port": peer["port"]}
    return {**place, **answer}


def main() -> None:
    run_on_host(SPEC, handle)


if __name__ == "__main__":
    main()

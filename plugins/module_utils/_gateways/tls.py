# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""Certificates, tried as QEMU and libvirt use them: in TLS handshakes, here and with peers.

This module util is **PRIVATE** to the collection: it may change without notice.
It needs nothing but Python's own ssl, so that a hypervisor needs no library.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.lowtide.compute.plugins.module_utils._planner.certificates import (
    Refusal,
    Seen,
)

CERTIFICATE, KEY, ENCRYPTED = "-----BEGIN CERTIFICATE-----", "PRIVATE KEY-----", "ENCRYPTED"
#: X509_V_FLAG_NO_CHECK_TIME: that a certificate expired must not hide what else is wrong with it.
NO_CHECK_TIME = 0x200000
PEM = re.compile(f"{CERTIFICATE}(.*?)-----END", re.DOTALL)
#: libvirt sends this byte when it has accepted a client's certificate (rpc/virnetserverclient.c).
ACCEPTED = b"\x01"
OTHERS_READ = stat.S_IROTH
PURPOSES = ("server", "client")
PARTS = ("ca", "certificate", "key")


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM texts; ``missing``: files that should hold them and do not, by what they should hold."""

    name: str
    ca: str
    certificate: str
    key: str
    missing: tuple[tuple[str, str], ...] = ()
    exposed: str = ""


def credentials_of(row: Mapping[str, Any]) -> Credentials:
    """Credentials given as texts, or as paths of files (``<part>_path``)."""
    texts, missing = {}, []
    for part in PARTS:
        try:
            texts[part] = row[part] or _read(row[f"{part}_path"])
        except OSError as error:
            texts[part] = ""
            path = row[f"{part}_path"]
            missing.append((part, f"{part}: {path}: {error.strerror}"))
    exposed = row["key_path"] if row["key_path"] and _others_read(row["key_path"]) else ""
    return Credentials(row["name"], **texts, missing=tuple(missing), exposed=exposed)


def _read(path: str | None) -> str:
    if not path:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _others_read(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & OTHERS_READ)
    except OSError:
        return False


def examine(
    given: Credentials,
    purposes: Sequence[str],
    names: Sequence[str],
    authorities: Mapping[str, str],
) -> Seen:
    """Try the credentials for each purpose, name and peer.

    ``authorities``: PEM texts of the authorities that each peer trusts, by the peer's name.
    """
    unusable = _unusable(given)
    if unusable:
        return Seen(given.name, unusable)
    told = _told(given)
    tried = {purpose: _shake(given, given.ca, purpose) for purpose in purposes}
    asked = {peer: _trial(given, ca, purposes) for peer, ca in authorities.items()}
    return Seen(
        given.name,
        refusals=_only_refusals(tried),
        # A certificate that is refused anyway says nothing about its names.
        unnamed=_unnamed(given, names) if isinstance(tried.get("server"), dict) else (),
        names=_names(told),
        distrusted=_only_refusals(asked),
        not_before=_time(told, "notBefore"),
        not_after=_time(told, "notAfter"),
    )


def _only_refusals(found: Mapping[str, Any]) -> dict[str, Refusal]:
    return {name: each for name, each in found.items() if isinstance(each, Refusal)}


def _unnamed(given: Credentials, names: Sequence[str]) -> list[str]:
    return [n for n in names if isinstance(_shake(given, given.ca, "server", n), Refusal)]


def _names(told: Mapping[str, Any]) -> list[str]:
    return [value for _kind, value in told.get("subjectAltName", ())]


def described(given: Credentials) -> dict[str, Any]:
    """Subject, issuer and serial number of a certificate; empty when it cannot be read."""
    told = {} if _unusable(given) else _told(given)
    return {
        "subject": _words(told.get("subject", ())),
        "issuer": _words(told.get("issuer", ())),
        "serial": told.get("serialNumber", ""),
        "names": _names(told),
    }


def _words(name: Sequence[Sequence[tuple[str, str]]]) -> str:
    return ", ".join(f"{key}={value}" for part in name for key, value in part)


def _time(told: Mapping[str, Any], key: str) -> float | None:
    return ssl.cert_time_to_seconds(told[key]) if key in told else None


def _unusable(given: Credentials) -> list[tuple[str, str]]:
    """Code and words for all that keeps the credentials from being tried."""
    found = [("missing", words) for _part, words in given.missing]
    absent = {part for part, _words in given.missing}
    for part, text, sign in (
        ("ca", given.ca, CERTIFICATE),
        ("certificate", given.certificate, CERTIFICATE),
        ("key", given.key, KEY),
    ):
        if part not in absent and sign not in text:
            found.append(("unreadable", f"{part}: holds no {sign.strip('-').lower()}"))
    if ENCRYPTED in given.key:
        found.append(("encrypted_key", "key: is encrypted"))
    if given.exposed:
        found.append(("exposed_key", f"key: every user of the host can read {given.exposed}"))
    return found or _unloadable(given)


def _unloadable(given: Credentials) -> list[tuple[str, str]]:
    found = []
    try:
        ssl.create_default_context(cadata=given.ca)
    except (ssl.SSLError, ValueError) as error:
        found.append(("unreadable", f"ca: {_reason(error)}"))
    try:
        _context(given, "server", trusting="")
    except (ssl.SSLError, ValueError) as error:
        mismatch = "KEY_VALUES_MISMATCH" in str(error)
        words = "key: does not belong to the certificate" if mismatch else _reason(error)
        found.append(("key_mismatch" if mismatch else "unreadable", words))
    if not found and _bodies(given.certificate)[0] in _bodies(given.ca):
        found.append(("no_authority", "ca: is the host's own certificate"))
    return found


def _bodies(text: str) -> list[str]:
    """The certificates of a PEM text, without their marks and white space."""
    return ["".join(body.split()) for body in PEM.findall(text)]


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)


def _context(given: Credentials, side: str, trusting: str, timely: bool = False) -> ssl.SSLContext:
    """A context of one side with our key; ``trusting``: authorities, "" to trust anybody."""
    kind = ssl.PROTOCOL_TLS_SERVER if side == "server" else ssl.PROTOCOL_TLS_CLIENT
    context = ssl.SSLContext(kind)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if trusting else ssl.CERT_NONE
    if trusting:
        context.load_verify_locations(cadata=trusting)
        # GnuTLS, which QEMU and libvirt use, trusts an intermediate authority alone, too.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not timely:
            context.verify_flags |= NO_CHECK_TIME
    # OpenSSL takes them from files only; this one is never on a disk.
    with os.fdopen(os.memfd_create("lowtide"), "w") as file:
        file.write(f"{given.key.rstrip()}\n{given.certificate}")
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def _shake(
    given: Credentials, authority: str, purpose: str, name: str | None = None
) -> dict[str, Any] | Refusal:
    """What the certificate says in a handshake in memory, or why it is refused.

    ``purpose``: which side of the connection shows it. ``name``: whom the client wants.
    """
    server = _context(given, "server", authority if purpose == "client" else "")
    client = _context(given, "client", authority if purpose == "server" else "")
    client.check_hostname = name is not None
    return _converse(server, client, purpose, name)


def _converse(
    server: ssl.SSLContext, client: ssl.SSLContext, purpose: str, name: str | None
) -> dict[str, Any] | Refusal:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = {
        "server": server.wrap_bio(to_server, to_client, server_side=True),
        "client": client.wrap_bio(to_client, to_server, server_hostname=name),
    }
    # TLS 1.3 takes each side two turns.
    for _turn in range(3):
        for side in sides.values():
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return Refusal(getattr(error, "verify_code", 0), _why(error))
    return sides["client" if purpose == "server" else "server"].getpeercert() or {}


def _why(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", "") or _reason(error)


def _told(given: Credentials) -> dict[str, Any]:
    """What the certificate says of itself: the certificate itself is all that is trusted."""
    for purpose in PURPOSES:
        for authority in (given.ca, given.certificate):
            found = _shake(given, authority, purpose)
            if isinstance(found, dict):
                return found
    return {}


def _trial(given: Credentials, authority: str, purposes: Sequence[str]) -> Refusal | None:
    """Why somebody with these authorities refuses the certificate; None when it does not."""
    for purpose in purposes:
        try:
            found = _shake(given, authority, purpose)
        except (ssl.SSLError, ValueError) as error:
            return Refusal(0, f"its authorities cannot be read: {_reason(error)}")
        if isinstance(found, Refusal):
            return found
    return None


def ask_peer(given: Credentials, address: str, port: int, seconds: float) -> dict[str, Any]:
    """Shake hands with libvirt at an address, as a host that wants to migrate a guest there.

    ``state``: ``trusted`` (each accepts the other), ``refused``, or ``silent`` (nothing listens).
    """
    try:
        context = _context(given, "client", given.ca, timely=True)
    except (ssl.SSLError, ValueError) as error:
        return {"state": "refused", "message": f"our own credentials: {_reason(error)}"}
    context.check_hostname = True
    try:
        with socket.create_connection((address, port), seconds) as plain:
            return _greet(context, plain, address)
    except ssl.SSLCertVerificationError as error:
        return {"state": "refused", "message": f"its certificate: {error.verify_message}"}
    except ssl.SSLError as error:
        return {"state": "refused", "message": f"it refuses us: {_reason(error)}"}
    except (TimeoutError, ConnectionRefusedError) as error:
        return {"state": "silent", "message": error.strerror or "no answer in time"}
    except OSError as error:
        return {"state": "silent", "message": error.strerror or str(error)}


def _greet(context: ssl.SSLContext, plain: socket.socket, address: str) -> dict[str, Any]:
    with context.wrap_socket(plain, server_hostname=address) as connection:
        said = connection.recv(1)
        cipher = connection.cipher()
        if said != ACCEPTED:
            return {"state": "refused", "message": "it hung up when it had seen our certificate"}
        return {
            "state": "trusted",
            "message": "each accepts the other's certificate",
            "protocol": connection.version(),
            "cipher": cipher[0] if cipher else None,
        }

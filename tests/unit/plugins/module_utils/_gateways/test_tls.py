# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real certificates in real handshakes: each way in which one will not do has its own code."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.lowtide.compute.plugins.module_utils._gateways import tls
from ansible_collections.lowtide.compute.plugins.module_utils._planner.certificates import faults

NOW = datetime.datetime.now(datetime.UTC)
USAGES = x509.ExtendedKeyUsageOID
BOTH = (USAGES.SERVER_AUTH, USAGES.CLIENT_AUTH)
ADDRESS = "127.0.0.1"


def pem_key(key, *, passphrase=None):
    kind = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    private = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, private, kind).decode()


def named(name):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


@dataclass
class Authority:
    """Signs certificates. ``pem``: its own."""

    name: str

    def __post_init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.sign(self.name, self.key, authority=True, usages=())
        self.pem = text(self.certificate)

    def sign(self, name, key, *, authority=False, usages=BOTH, days=90, names=(ADDRESS, "h1")):
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - datetime.timedelta(days=400))
            .not_valid_after(NOW + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
        )
        if usages:
            made = made.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            made = made.add_extension(x509.SubjectAlternativeName(alternatives(names)), False)
        return made.sign(self.key, hashes.SHA256())

    def credentials(self, **fields):
        """A certificate of this authority with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign("h1", key, **fields)
        return tls.Credentials("qemu", self.pem, text(certificate), pem_key(key))


def alternatives(names):
    return [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        for name in names
    ]


def text(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority():
    return Authority("one")


@pytest.fixture(scope="module")
def other():
    return Authority("other")


def codes(given, names=(ADDRESS,), authorities=None, purposes=tls.PURPOSES):
    seen = tls.examine(given, purposes, names, authorities or {})
    return [fault.code for fault in faults(seen, time.time(), 30)]


def changed(given, **fields):
    whole = {name: getattr(given, name) for name in ("name", "ca", "certificate", "key")}
    return tls.Credentials(**(whole | fields))


def test_a_good_certificate_has_no_faults(authority):
    good = authority.credentials()
    assert codes(good, (ADDRESS, "h1"), {"h2": authority.pem}) == []
    said = tls.described(good)
    assert (said["subject"], said["issuer"]) == ("commonName=h1", "commonName=one")
    assert said["names"] == [ADDRESS, "h1"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"days": -1}, "expired"),
        ({"days": 9}, "expires_soon"),
        ({"names": ("192.0.2.1",)}, "name_missing"),
        ({"usages": (USAGES.SERVER_AUTH,)}, "wrong_purpose"),
    ],
)
def test_what_the_certificate_says_is_judged(authority, fields, code):
    assert codes(authority.credentials(**fields)) == [code]


def test_an_expired_one_for_another_host_has_two_faults(authority):
    bad = authority.credentials(days=-1, names=("192.0.2.1",))
    assert codes(bad) == ["name_missing", "expired"]


def test_only_the_purposes_that_are_asked_for_matter(authority):
    server_only = authority.credentials(usages=(USAGES.SERVER_AUTH,))
    assert codes(server_only, purposes=["server"]) == []
    assert codes(server_only, purposes=["client"]) == ["wrong_purpose"]


def test_another_authoritys_is_not_signed(authority, other):
    # Its dates are told, too: the certificate speaks for itself.
    bad = changed(authority.credentials(days=-1), ca=other.pem)
    assert codes(bad) == ["not_signed", "expired"]


def test_a_peer_that_trusts_another_authority_is_named(authority, other):
    good = authority.credentials()
    seen = tls.examine(good, tls.PURPOSES, [], {"h2": authority.pem, "h3": other.pem, "h4": "?"})
    assert sorted(seen.distrusted) == ["h3", "h4"]


def test_the_key_must_be_the_certificates(authority):
    key = authority.credentials().key
    assert codes(changed(authority.credentials(), key=key)) == ["key_mismatch"]


def test_a_key_with_a_passphrase_is_refused_before_anybody_is_asked_for_it(authority):
    key = pem_key(ec.generate_private_key(ec.SECP256R1()), passphrase=b"secret")
    assert codes(changed(authority.credentials(), key=key)) == ["encrypted_key"]


@pytest.mark.parametrize("part", tls.PARTS)
def test_what_is_no_pem_is_unreadable(authority, part):
    assert codes(changed(authority.credentials(), **{part: "garbage"})) == ["unreadable"]


@pytest.mark.parametrize("part", ["ca", "certificate"])
def test_so_is_pem_with_garbage_in_it(authority, part):
    torn = f"{tls.CERTIFICATE}\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n"
    assert codes(changed(authority.credentials(), **{part: torn})) == ["unreadable"]


def test_a_host_is_no_authority(authority):
    good = authority.credentials()
    assert codes(changed(good, ca=good.certificate)) == ["no_authority"]


def test_an_intermediate_authority_suffices(authority):
    key = ec.generate_private_key(ec.SECP256R1())
    between = Authority("between")
    between.key = key
    between.pem = text(authority.sign("between", key, authority=True, usages=()))
    assert codes(between.credentials()) == []


def files_of(tmp_path, given, mode=0o640):
    row = {"name": "qemu", "ca": None, "certificate": None, "key": None}
    for part in tls.PARTS:
        path = tmp_path / part
        path.write_text(getattr(given, part))
        path.chmod(mode)
        row[f"{part}_path"] = str(path)
    return row


def test_files_are_read(authority, tmp_path):
    row = files_of(tmp_path, authority.credentials())
    assert codes(tls.credentials_of(row)) == []


def test_files_that_are_missing_are_named_together(authority, tmp_path):
    row = files_of(tmp_path, authority.credentials())
    (tmp_path / "ca").unlink()
    (tmp_path / "key").unlink()
    given = tls.credentials_of(row)
    assert codes(given) == ["missing", "missing"]
    assert str(tmp_path / "ca") in given.missing[0][1]
    assert tls.described(given)["subject"] == ""


def test_a_key_that_everybody_reads_is_a_fault(authority, tmp_path):
    row = files_of(tmp_path, authority.credentials(), mode=0o644)
    assert codes(tls.credentials_of(row)) == ["exposed_key"]


# --- peers -------------------------------------------------------------------------------


@pytest.fixture
def libvirt():
    """Start what answers as libvirt does; return its port."""
    listeners = []

    def start(given, trusting, greeting=tls.ACCEPTED):
        listener = socket.create_server((ADDRESS, 0))
        listeners.append(listener)
        context = tls._context(given, "server", trusting)

        def serve():
            plain, _address = listener.accept()
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.sendall(greeting)
            except (ssl.SSLError, OSError):
                plain.close()

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in listeners:
        listener.close()


def test_peers_of_one_authority_trust_each_other(authority, libvirt):
    port = libvirt(authority.credentials(), authority.pem)
    answer = tls.ask_peer(authority.credentials(), ADDRESS, port, 5)
    assert (answer["state"], answer["protocol"]) == ("trusted", "TLSv1.3")


def test_a_peer_of_another_authority_is_refused(authority, other, libvirt):
    port = libvirt(other.credentials(), authority.pem)
    answer = tls.ask_peer(authority.credentials(), ADDRESS, port, 5)
    assert answer["state"] == "refused"
    assert "its certificate" in answer["message"]


def test_a_peer_that_trusts_another_authority_refuses_us(authority, other, libvirt):
    port = libvirt(authority.credentials(), other.pem)
    answer = tls.ask_peer(authority.credentials(), ADDRESS, port, 5)
    assert answer["state"] == "refused"
    assert "its certificate" not in answer["message"]


def test_a_peer_with_another_hosts_certificate_is_refused(authority, libvirt):
    port = libvirt(authority.credentials(names=("h9",)), authority.pem)
    assert tls.ask_peer(authority.credentials(), ADDRESS, port, 5)["state"] == "refused"


def test_a_peer_that_hangs_up_has_refused_us(authority, libvirt):
    port = libvirt(authority.credentials(), authority.pem, greeting=b"\x00")
    answer = tls.ask_peer(authority.credentials(), ADDRESS, port, 5)
    assert (answer["state"], "hung up" in answer["message"]) == ("refused", True)


def test_where_nothing_listens_is_silent(authority):
    with socket.create_server((ADDRESS, 0)) as listener:
        port = listener.getsockname()[1]
    assert tls.ask_peer(authority.credentials(), ADDRESS, port, 5)["state"] == "silent"


def test_without_usable_credentials_nobody_is_asked(authority):
    bad = changed(authority.credentials(), key="garbage")
    answer = tls.ask_peer(bad, ADDRESS, 1, 5)
    assert (answer["state"], "our own" in answer["message"]) == ("refused", True)

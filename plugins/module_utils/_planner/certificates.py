# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: BSD-2-Clause
"""What is wrong with a host's certificate, judged by what TLS handshakes with it showed.

This module util is **PRIVATE** to the collection: it may change without notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

DAY = 86400
#: OpenSSL's numbers for why a certificate is refused (openssl/x509_vfy.h) that have words of ours.
WRONG_PURPOSE = 26
NO_AUTHORITY = (24, 79)
NOT_SIGNED = (2, 7, 18, 19, 20, 21)

REMEDIES = {
    "missing": "Give it; the file is named in the message",
    "unreadable": "Give it as PEM: text between -----BEGIN and -----END lines",
    "encrypted_key": "Give the key without a passphrase: QEMU and libvirt cannot ask for one",
    "key_mismatch": "Give the key that belongs to this certificate",
    "exposed_key": "Let only its owner and the group of QEMU read it (mode 0640), and renew it",
    "not_signed": "Give the authority that signed it, or have it signed by the one given",
    "no_authority": "Give an authority's certificate, one with the basic constraint CA",
    "wrong_purpose": "Have it issued with the extended key usages serverAuth and clientAuth",
    "refused": "Have it issued anew",
    "name_missing": "Have it issued with that as a subject alternative name",
    "not_yet_valid": "Set the clock right, or wait",
    "expired": "Renew it",
    "expires_soon": "Renew it now",
    "not_trusted": "Give both hosts certificates of one authority, and its certificate to both",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``code``: one word. ``about``: which credentials. ``what``: without the remedy."""

    code: str
    about: str
    what: str

    @property
    def remedy(self) -> str:
        return REMEDIES[self.code]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a handshake failed: OpenSSL's number (0: not about the certificate) and words."""

    number: int
    words: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about one certificate with its key.

    ``unusable``: code and words for each part that could not even be loaded. ``refusals``: by
    purpose (server, client). ``unnamed``: of the names asked for, those that it does not have.
    ``distrusted``: why, by the peer whose authorities were asked. Times are epoch seconds.
    """

    about: str
    unusable: Sequence[tuple[str, str]] = ()
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    unnamed: Sequence[str] = ()
    names: Sequence[str] = ()
    distrusted: Mapping[str, Refusal] = field(default_factory=dict)
    not_before: float | None = None
    not_after: float | None = None


def faults(seen: Seen, now: float, days: float) -> list[Fault]:
    """All that is wrong with it, or will be within so many days; the most basic first."""
    if seen.unusable:
        return [Fault(code, seen.about, words) for code, words in seen.unusable]
    return [
        *_refused(seen),
        *_unnamed(seen),
        *_untimely(seen, now, days),
        *_distrusted(seen),
    ]


def days_left(seen: Seen, now: float) -> float | None:
    """Days until it expires, negative when it has; None when it could not be read."""
    return None if seen.not_after is None else round((seen.not_after - now) / DAY, 1)


def _refused(seen: Seen) -> list[Fault]:
    found: dict[str, Fault] = {}
    for purpose, refusal in seen.refusals.items():
        code = _code(refusal.number)
        words = f"does not do for a {purpose}: {refusal.words}"
        if code == "not_signed":
            words = f"is not signed by the authority given: {refusal.words}"
        # The same of both purposes is said once.
        found.setdefault(words if code == "wrong_purpose" else code, Fault(code, seen.about, words))
    return list(found.values())


def _code(number: int) -> str:
    if number in NOT_SIGNED:
        return "not_signed"
    if number in NO_AUTHORITY:
        return "no_authority"
    return "wrong_purpose" if number == WRONG_PURPOSE else "refused"


def _unnamed(seen: Seen) -> list[Fault]:
    if not seen.unnamed:
        return []
    has = f"it has {', '.join(seen.names)}" if seen.names else "it has no names"
    missing = ", ".join(seen.unnamed)
    return [Fault("name_missing", seen.about, f"is not for {missing}; {has}")]


def _untimely(seen: Seen, now: float, days: float) -> list[Fault]:
    left = days_left(seen, now)
    if left is None or seen.not_before is None or seen.not_after is None:
        return []
    if seen.not_after <= now:
        return [Fault("expired", seen.about, f"expired {-left:g} days ago")]
    if seen.not_before > now:
        until = (seen.not_before - now) / DAY
        return [Fault("not_yet_valid", seen.about, f"is not valid for another {until:.1f} days")]
    if seen.not_after < now + days * DAY:
        words = f"expires in {left:g} days, which is less than {days:g}"
        return [Fault("expires_soon", seen.about, words)]
    return []


def _distrusted(seen: Seen) -> list[Fault]:
    return [
        Fault("not_trusted", seen.about, f"is not trusted by {peer}: {refusal.words}")
        for peer, refusal in sorted(seen.distrusted.items())
    ]

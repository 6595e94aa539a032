# SPDX-License-Identifier: GPL-3.0-or-later
"""To whom recovery keys are encrypted: a native age recipient, checked before anything is made.

The host can encrypt to it and can never decrypt: the identity stays with the people who recover.
"""

from __future__ import annotations

# https://age-encryption.org/v1 (X25519 recipient) is Bech32 of BIP 173, with the prefix "age".
_LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_LENGTH = 62  # "age1", 52 letters of key, 6 of checksum


def problem(recipient: str) -> str:
    """What is wrong with it, or nothing. A secret key is never repeated."""
    if not recipient:
        return (
            "there is no recovery recipient: make an identity with age-keygen, keep it offline, and set "
            "disk_encryption_recovery_recipient to its public key (age1…)"
        )
    if "SECRET-KEY" in recipient.upper():
        return (
            "the recovery recipient is a secret key, which must never come to a host: set "
            "disk_encryption_recovery_recipient to its public key (age-keygen -y), and make a new identity"
        )
    if not recipient.startswith("age1") or len(recipient) != _LENGTH:
        return f"{recipient!r} is not a native age recipient: it begins with age1 and has {_LENGTH} letters"
    if not set(recipient[4:]) <= set(_LETTERS) or _checksum("age", recipient[4:]) != 1:
        return f"{recipient!r} is mistyped: its checksum is wrong"
    return ""


def _checksum(prefix: str, data: str) -> int:
    values = [ord(each) >> 5 for each in prefix] + [0] + [ord(each) & 31 for each in prefix]
    check = 1
    for value in [*values, *(_LETTERS.index(each) for each in data)]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, term in enumerate(_GENERATOR):
            check ^= term if top >> bit & 1 else 0
    return check

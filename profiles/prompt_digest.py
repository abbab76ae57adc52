"""Digests of prompts, by which two recordings are found to hold the same ones.

A prompt is not stored. Its digest alone would tell it to whoever guesses it, and a short prompt is
soon guessed: digests of many likely ones could be kept in a table and looked up in any recording.
So each recording has a salt of its own, which its manifest names as ``prompts.salt``. The table
would have to be made anew for each of them; and equal prompts of two recordings have different
digests. A salt does not keep anybody from trying single guesses: a copy that is given away
(`adadecode.sim.share`) holds neither digests nor salt.
"""

from __future__ import annotations

import secrets

from adadecode.profiles.digest import sha256_hex


def new_salt() -> str:
    """Return a salt for the prompts of one recording."""
    return secrets.token_hex(16)


def prompt_digest(text: str, salt: str | None = None) -> str:
    """Return the digest of a prompt.

    Args:
        text: The prompt, or several that are joined.
        salt: That of the recording; None where it has none, as those of earlier versions.
    """
    plain = sha256_hex(text.encode())
    return plain if salt is None else with_salt(plain, salt)


def with_salt(digest: str, salt: str) -> str:
    """Return a digest as a recording with this salt holds it."""
    return sha256_hex(f"{salt} {digest}".encode())

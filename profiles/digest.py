"""Digests that notice a change: SHA-256 of bytes, and the seal of a JSON document.

A sealed document carries, under ``digest``, the SHA-256 of all the rest of it, and names the files
that belong to it with theirs. So a change in any byte of any of them is noticed. A seal shows that
something was changed, not who changed it: whoever edits a document can seal it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from adadecode.profiles.errors import InputError

SEAL = "digest"
"""The key of a document that holds the digest of the rest."""


def sha256_hex(*chunks: bytes | bytearray | memoryview) -> str:
    """Return the SHA-256 of these bytes, one after the other, as 64 hexadecimal digits."""
    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return state.hexdigest()


def canonical_json(value: object, what: str, *, error: type[InputError] = InputError) -> bytes:
    """Return a value as JSON that is the same for equal values: keys sorted, no spaces, UTF-8.

    Args:
        value: What to write.
        what: What it is, with its article, for the message.
        error: What to raise.

    Raises:
        InputError: If JSON cannot carry it; of the class ``error``.
    """
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return text.encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise error(
            f"wanted text and finite numbers in {what}, got something JSON cannot carry "
            f"({problem}): use null or plain numbers"
        ) from None


def seal_of(document: Mapping[str, Any], what: str, *, error: type[InputError] = InputError) -> str:
    """Return the digest that a document must carry: of its canonical JSON, `SEAL` left out.

    Args:
        document: The document, sealed or not.
        what: What it is, with its article, for the message.
        error: What to raise.

    Raises:
        InputError: As `canonical_json`.
    """
    rest = {key: value for key, value in document.items() if key != SEAL}
    return sha256_hex(canonical_json(rest, what, error=error))


def sealed(
    document: Mapping[str, Any], what: str, *, error: type[InputError] = InputError
) -> dict[str, Any]:
    """Return a copy of a document that carries its seal, as its last key.

    Args:
        document: The document. Its keys are text.
        what: What it is, with its article, for the message.
        error: What to raise.

    Raises:
        InputError: As `canonical_json`.
    """
    rest = {key: value for key, value in document.items() if key != SEAL}
    return {**rest, SEAL: seal_of(rest, what, error=error)}


def check_seal(
    document: Mapping[str, Any], where: object, todo: str, *, error: type[InputError] = InputError
) -> None:
    """Refuse a document that does not carry its own seal.

    Args:
        document: The document, as it was read.
        where: Its file, for the message.
        todo: What to do about it, for the message.
        error: What to raise.

    Raises:
        InputError: If it was edited, or carries no seal; of the class ``error``.
    """
    wanted = seal_of(document, str(where), error=error)
    if document.get(SEAL) != wanted:
        raise error(
            f"{where} was edited: its digest is {wanted}, it claims {document.get(SEAL)}: {todo}"
        )

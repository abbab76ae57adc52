"""Digests and seals: equal documents have equal ones, and every change is noticed."""

import hashlib

import pytest

from adadecode.profiles.digest import canonical_json, check_seal, seal_of, sealed, sha256_hex
from adadecode.profiles.errors import HeadsError, InputError


def test_a_digest_is_of_all_chunks_in_order() -> None:
    assert sha256_hex(b"ab", memoryview(b"c")) == hashlib.sha256(b"abc").hexdigest()
    assert sha256_hex() == hashlib.sha256(b"").hexdigest()


def test_canonical_json_is_the_same_for_equal_values() -> None:
    assert (
        canonical_json({"b": [1, 2.5, None], "a": "é"}, "it")
        == '{"a":"é","b":[1,2.5,null]}'.encode()
    )


@pytest.mark.parametrize("value", [float("nan"), b"bytes", {1, 2}, "\ud800"])
def test_what_json_cannot_carry_is_refused_as_the_reader_asks(value: object) -> None:
    with pytest.raises(HeadsError, match=r"wanted text and finite numbers in a head, got .*: use"):
        canonical_json({"value": value}, "a head", error=HeadsError)


def test_deep_nesting_is_refused() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InputError, match="JSON cannot carry"):
        canonical_json(value, "it")


def test_a_sealed_document_passes_in_any_order_and_sealed_again() -> None:
    document = sealed({"b": 1, "a": [True]}, "a document")
    check_seal(document, "there", "restore it")
    check_seal(dict(reversed(document.items())), "there", "restore it")
    assert sealed(document, "a document") == document


@pytest.mark.parametrize(
    "change", [{"a": [False]}, {"b": 2}, {"c": None}, {"digest": "0" * 64}, {"digest": None}]
)
def test_every_change_is_noticed(change: dict[str, object]) -> None:
    document = {**sealed({"b": 1, "a": [True]}, "a document"), **change}
    with pytest.raises(
        HeadsError, match=r"there was edited: its digest is \w{64}, it claims .*: r"
    ):
        check_seal(document, "there", "restore it", error=HeadsError)
    if "digest" not in change:
        assert seal_of(document, "it") != document["digest"]

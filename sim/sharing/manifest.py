"""The manifest of a shared copy: what a reader needs, and nothing that tells of its owner.

What is kept stands in `adadecode.sim.sharing.known_keys`; here is what becomes of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adadecode.profiles.catalog.hf_config import MODEL_TYPES
from adadecode.profiles.catalog.models import SHORT_NAMES, shapes
from adadecode.profiles.catalog.recorded import recorded_device
from adadecode.profiles.manifest import DEMO_HEADS, DEMO_MODEL, SHARED, section
from adadecode.sim.sharing.known_keys import BASELINE, KEPT, known_part

LOCAL = "local"
"""Stands for the name or path of something that may be known to its owner alone."""

LIMITATION = (
    "shared without its text: tokens are stand-ins, new at every position, so that no token is "
    "known again, and branches that are modelled draw other rows"
)

_OURS = {DEMO_MODEL, DEMO_HEADS, "synthetic", "none", *SHORT_NAMES}
"""Names that this program gives."""

_ON_A_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

_REVISION = re.compile("[0-9a-f]{7,64}")

_IDENTIFIER = re.compile("[A-Za-z0-9_-]{1,60}")

_BASELINES = {"generate", "static", "lookup", "early-exit", "draft"}

_NUMERALS = re.compile(r"[0-9.]*")

_PATH = re.compile(r"\S*[/\\]\S*")
"""A word of a sentence that may be a path, or a name on a hub."""

_SHORTEST = 3
"""Characters of the shortest name that is looked for in sentences."""


def shared_manifest(
    manifest: Mapping[str, Any], *, name: str, eos: Sequence[int], domains: Mapping[str, str]
) -> dict[str, Any]:
    """Return the manifest of a shared copy.

    Args:
        manifest: That of the recording.
        name: The name of the copy.
        eos: The stand-ins of its end tokens.
        domains: What each domain is called in the copy.
    """
    day = str(manifest.get("created") or "")[:10] or None
    # Sections that a reader wants are there, though nothing of them may be kept.
    parts = {key: section(manifest, key) for key in ("software", "settings", "prompts", "hardware")}
    kept: dict[str, Any] = known_part({**manifest, **parts, "created": day}, KEPT)
    kept["name"] = name
    kept["model"] |= _model(section(manifest, "model"))
    kept["heads"]["name"] = public_name(section(manifest, "heads").get("name"))
    if recorded_device(manifest) is not None or parts["hardware"].get("device") == "none":
        kept["hardware"]["device"] = parts["hardware"].get("device")
    kept["prompts"]["domains"] = sorted(set(domains.values()))
    kept["eos_token_ids"] = list(eos)
    if baselines := section(manifest, "baselines"):
        kept["baselines"] = {
            baseline_name(one): known_part(about, BASELINE) for one, about in baselines.items()
        }
    if scripted := section(manifest, "scripted"):
        kept["scripted"] |= {key: public_name(scripted.get(key)) for key in ("profile", "model")}
    kept[SHARED] = {"tokens": "stand-ins", "digests": "left out", "names": "left out"}
    told = manifest.get("limitations")
    sentences = [told] if isinstance(told, str) else list(told or ())
    names = sorted(set(_private(manifest, kept, domains)), key=len, reverse=True)
    kept["limitations"] = [LIMITATION, *(_without(str(one), names) for one in sentences)]
    return kept


def public_name(name: object, revision: object = None) -> str | None:
    """Return a name that is surely public: this program's, its catalogue's or one on a hub.

    Args:
        name: The name of a model or of heads.
        revision: The revision that a hub gave it. A name without one may be that of a folder.

    Returns:
        The name; `LOCAL` for any other, and None where there is none.
    """
    if name is None:
        return None
    words = str(name)
    return words if words in _OURS or words in shapes() or _of_hub(words, revision) else LOCAL


def _of_hub(name: str, revision: object) -> bool:
    return (
        isinstance(revision, str)
        and _REVISION.fullmatch(revision) is not None
        and _ON_A_HUB.fullmatch(name) is not None
    )


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of a model, and those of its parts that follow from a public one."""
    named = public_name(model.get("name"), model.get("revision"))
    public = named is not None and named != LOCAL
    config = section(model, "config")
    found: dict[str, Any] = {
        "name": named,
        "revision": model.get("revision") if public else None,
        "class": _class(model.get("class"), config.get("model_type"), public=public),
        "config": _config(config, public=public),
    }
    if shape := section(model, "shape"):
        name = public_name(shape.get("name"), model.get("revision"))
        known = shapes().get(str(name))
        source = {"source": known.source} if known else {}
        found["shape"] = {**known_part(shape, KEPT["model"]["shape"]), "name": name, **source}
    return found


def _config(config: Mapping[str, Any], *, public: bool) -> dict[str, Any]:
    """Return what is kept of a config: its type, where libraries know it, and its sizes."""
    kept: dict[str, Any] = known_part(config, KEPT["model"]["config"])
    for part, of in (kept, config), (kept.get("text_config"), section(config, "text_config")):
        kind = of.get("model_type")
        if part is not None and isinstance(kind, str):
            if kind in MODEL_TYPES or (public and _IDENTIFIER.fullmatch(kind)):
                part["model_type"] = kind
            names = of.get("architectures")
            classes = [
                found
                for one in (names if isinstance(names, list) else ())
                if (found := _class(one, kind, public=public)) is not None
            ]
            if classes:
                part["architectures"] = classes
    return kept


def _class(name: object, kind: object, *, public: bool) -> str | None:
    """Return the name of a class of a public model, or of the model type of a library."""
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        return None
    plain = str(kind).replace("_", "").lower()
    known = kind in MODEL_TYPES and re.fullmatch(
        rf"{re.escape(plain)}(LMHeadModel|ForCausalLM|Model)".lower(), name.lower()
    )
    return name if public or known else None


def baseline_name(name: str) -> str:
    """Return the name of a baseline; what follows a colon may be the path of a draft model."""
    kind, colon, rest = name.partition(":")
    if kind not in _BASELINES:
        return LOCAL
    return name if not colon or _NUMERALS.fullmatch(rest) else f"{kind}:{LOCAL}"


def _private(
    manifest: Mapping[str, Any], kept: Mapping[str, Any], domains: Mapping[str, str]
) -> Iterator[str]:
    """Yield the names that the copy leaves out, as sentences may hold them."""
    here = set(_texts(kept))
    for text in (*_texts(manifest), *(one for one, now in domains.items() if one != now)):
        if text not in here and len(text) >= _SHORTEST:
            yield text


def _texts(value: object) -> Iterator[str]:
    """Yield every text of a document but its sentences."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key != "limitations":
                yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _without(sentence: str, names: Sequence[str]) -> str:
    for name in names:
        sentence = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", sentence)
    return _PATH.sub("…", sentence)

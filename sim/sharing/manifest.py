"""The manifest of a shared copy: what a reader needs, and nothing that tells of its owner.

Only what is listed here is kept. A key that some later version writes is left out until somebody
decides that it tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adadecode.profiles.manifest import SHARED, section

LOCAL = "local"
"""Stands for the path of something on the owner's machine."""

LIMITATION = (
    "shared without its text: tokens are stand-ins, new at every position, so that no token is "
    "known again, and branches that are modelled draw other rows"
)

_AS_IT_IS = (
    *("dtype", "seed", "numerics", "attention", "graphs", "graphs_bytes", "timing", "weights"),
    *("max_new_tokens", "latency_samples"),
)
"""Keys that are words of this program, or numbers."""

_CONFIG_WORDS = {
    *("model_type", "architectures", "dtype", "torch_dtype", "layer_types", "hidden_act"),
    *("hidden_activation", "position_embedding_type", "rope_type", "type", "quant_method"),
}
"""Keys of a model's config whose text is a word of its library."""

_SETTING_WORDS = {"dtype", "graphs", "interleaving", "device", "numerics", "attention"}

_HOST = {
    *("cpu", "architecture", "cores", "threads", "usable_threads", "memory_bytes", "caches"),
    *("level", "kind", "bytes", "count"),
}

_MACHINE = {"device", "threads", "host", "gpu", "before", "after", "name", *_HOST}

_NUMERALS = re.compile(r"[0-9.,;: eE+-]*")

_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,40}")

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
    model, heads, prompts = (section(manifest, key) for key in ("model", "heads", "prompts"))
    form = _chosen(section(heads, "form"), ("shortlist", "dtype", "product"))
    kept: dict[str, Any] = {
        "name": name,
        "created": str(manifest.get("created", ""))[:10] or None,
        **{key: manifest[key] for key in _AS_IT_IS if key in manifest},
        "model": _model(model),
        "heads": {
            "name": public_name(heads.get("name")),
            "depths": list(heads["depths"]),
            "metrics": _numbers(heads.get("metrics")),
            **({"form": form} if "form" in heads else {}),
            "coverage": _numbers(heads.get("coverage")),
        },
        "hardware": _worded(section(manifest, "hardware"), _MACHINE),
        "software": {
            key: value
            for key, value in section(manifest, "software").items()
            if value is None or _VERSION.fullmatch(str(value))
        },
        "prompts": {"count": prompts.get("count"), "domains": sorted(set(domains.values()))},
        "settings": _settings(section(manifest, "settings")),
        "eos_token_ids": list(eos),
        **_optional(manifest),
        SHARED: {"tokens": "stand-ins", "digests": "left out", "names": "left out"},
    }
    told = manifest.get("limitations")
    sentences = [told] if isinstance(told, str) else list(told or ())
    names = sorted(set(_private(manifest, kept, domains)), key=len, reverse=True)
    kept["limitations"] = [LIMITATION, *(_without(str(one), names) for one in sentences)]
    return kept


def public_name(name: object, *, local: bool = False) -> str | None:
    """Return the name of a model or of heads; `LOCAL` for a path.

    Args:
        name: The name.
        local: Whether a name with a slash is a path: no hub knows it.
    """
    if name is None:
        return None
    words = str(name)
    path = words.startswith(("/", ".", "~")) or "\\" in words or words.count("/") > 1
    return LOCAL if path or (local and "/" in words) or ":/" in words else words


def _chosen(about: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: about[key] for key in keys if key in about}


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        "name": public_name(model.get("name"), local=model.get("revision") is None),
        "config": _worded(section(model, "config"), _CONFIG_WORDS),
        **{key: model.get(key) for key in ("revision", "class", "n_layers")},
        **{key: model[key] for key in ("hidden_size", "n_parameters") if key in model},
    }
    if shape := section(model, "shape"):
        kept["shape"] = _worded(shape, {"dtype", "name", "source"})
    return kept


def _optional(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what only some manifests have."""
    found: dict[str, Any] = {}
    if manifest.get("sampling") is not None:
        found["sampling"] = _numbers(manifest["sampling"])
    if "conditions" in manifest:
        found["conditions"] = _numbers(manifest["conditions"])
    if baselines := section(manifest, "baselines"):
        found["baselines"] = {baseline_name(one): _numbers(baselines[one]) for one in baselines}
    if scripted := section(manifest, "scripted"):
        found["scripted"] = {
            **{key: public_name(scripted.get(key), local=True) for key in ("profile", "model")},
            **{key: scripted[key] for key in ("n_layers", "map") if key in scripted},
            **({"synthetic": scripted["synthetic"]} if "synthetic" in scripted else {}),
            **({"form": _worded(scripted["form"], {"dtype"})} if "form" in scripted else {}),
        }
    if "synthetic" in manifest:
        found["synthetic"] = _numbers(manifest["synthetic"])
    return found


def baseline_name(name: str) -> str:
    """Return the name of a baseline; what follows a colon may be the path of a draft model."""
    kind, colon, rest = name.partition(":")
    return name if not colon or _NUMERALS.fullmatch(rest) else f"{kind}:{public_name(rest)}"


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are numbers, or words of this program."""
    kept = {}
    for key, value in settings.items():
        items = value if isinstance(value, list) else [value]
        plain = all(_is_number(one) or _is_numeral(one) for one in items)
        if key == "designs" or key in _SETTING_WORDS or plain:
            kept[key] = value
    return kept


def _is_numeral(value: object) -> bool:
    return isinstance(value, str) and _NUMERALS.fullmatch(value) is not None


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _worded(value: Any, words: set[str], *, known: bool = False) -> Any:  # noqa: ANN401 - as JSON
    """Return a value with its numbers, and the text below keys that are known."""
    if isinstance(value, Mapping):
        items = ((key, _worded(item, words, known=key in words)) for key, item in value.items())
        return {key: item for key, item in items if item is not None or value[key] is None}
    if isinstance(value, list):
        return [_worded(item, words, known=known) for item in value]
    return value if _is_number(value) or (known and isinstance(value, str)) else None


def _numbers(value: Any) -> Any:  # noqa: ANN401 - as JSON
    """Return a value without its text."""
    return _worded(value, set())


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
    return sentence

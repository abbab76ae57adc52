"""Which attentions a quantised checkpoint leaves as they were, by the names in its config.

Names are read as words and never run as patterns: a config may come from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from adadecode.profiles.catalog.layer_shape import LayerShape

_LISTS = ("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules")
"""Keys that name what is not packed."""

_ATTENTION = re.compile(r"(self_|linear_)?att(?:ention|n)(?![a-z])|(mamba)")

_LAYER = re.compile(r"(?:^|[._])(?:layers?|blocks?|h)\\?\.(\d+)(?!\d)")

_OF_OTHERS = ("visual", "vision", "audio")
"""Words in the names of modules that are none of the text's."""

_GOES_IN = re.compile(r"q(_(?!norm).*|kv.*)?|in_proj.*|query.*|wq.*|c_attn")

_GOES_OUT = frozenset(("o", "o_proj", "out_proj", "dense", "c_proj", "wo"))


class _Named(NamedTuple):
    """Attention that one name leaves out.

    Attributes:
        layer: Of which layer; None for all.
        linear: Whether of layers with a state alone; None for all of them.
        parts: Which of its ends the name means, of ``in`` and ``out``.
    """

    layer: int | None
    linear: bool | None
    parts: frozenset[str]


def leaves_attention_out(about: Mapping[str, Any], layers: Sequence[LayerShape]) -> bool:
    """Return whether a checkpoint leaves every attention of the text as it was.

    A name may mean a whole attention or one product of it, in one layer or by a pattern in all.

    Args:
        about: The ``quantization_config``.
        layers: The model's layers.
    """
    named = [found for name in _names(about) if (found := _read(name)) is not None]
    mixing = [(at, one) for at, one in enumerate(layers) if one.reads or one.state]
    return bool(named and mixing) and all(_is_left_out(at, one, named) for at, one in mixing)


def _names(about: Mapping[str, Any]) -> Iterable[str]:
    for key in _LISTS:
        listed = about.get(key)
        names = [listed] if isinstance(listed, str) else listed
        yield from (one for one in names if isinstance(one, str)) if isinstance(names, list) else ()


def _read(name: str) -> _Named | None:
    """Return the attention that a name leaves out; None where it names another module."""
    found = _ATTENTION.search(name)
    if found is None or any(word in name for word in _OF_OTHERS):
        return None
    words = re.findall(r"[A-Za-z_][A-Za-z0-9_]*", name[found.end() :].lower())
    ends = {"in" for word in words if _GOES_IN.fullmatch(word)}
    ends |= {"out" for word in words if word in _GOES_OUT}
    layer = _LAYER.search(name)
    kind = found.group(1) or found.group(2)
    return _Named(
        layer=None if layer is None else int(layer.group(1)),
        linear=None if kind is None else kind != "self_",
        parts=frozenset(ends if words else ("in", "out")),
    )


def _is_left_out(at: int, layer: LayerShape, named: Iterable[_Named]) -> bool:
    parts: set[str] = set()
    for one in named:
        mine = one.linear is None or one.linear == bool(layer.state)
        if one.layer == at or (one.layer is None and mine):
            parts |= one.parts
    return parts == {"in", "out"}

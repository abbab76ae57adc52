"""What the layers of a model see of a text, found from the masks that the model asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

MaskFunction = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Tells which slot a query may see, by batch, head, query and slot; they broadcast."""

_FAR = 2**12
"""A position beyond which nothing about a mask without a window is expected to change."""


class UnknownMask(Exception):
    """Raised within this package where a layer reads its mask by itself, or sees other slots."""


@dataclass(frozen=True)
class Window:
    """Stands in the place of a mask among a layer's arguments, and takes no room.

    Whoever takes it for a tensor gets an `UnknownMask`.

    Attributes:
        width: How many positions a layer sees, its own included; None for all up to its own.
        known: Whether it sees just these; a mask that no layer uses need not be known.
    """

    width: int | None = None
    known: bool = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise UnknownMask("its layers compute attention by themselves")

    def to(self, *_args: Any, **_kwargs: Any) -> Window:
        """Return itself: ``accelerate`` moves all that a layer is given to the layer's device."""
        return self

    @classmethod
    def __torch_function__(cls, *_args: Any, **_kwargs: Any) -> Any:
        raise UnknownMask("its layers compute attention by themselves")


def narrower(one: int | None, other: int | None) -> int | None:
    """Return the smaller of two windows, where None is one without end."""
    sizes = [size for size in (one, other) if size]
    return min(sizes, default=None)


def describe_mask(
    *, mask_function: MaskFunction, local_size: int | None = None, **unused: Any
) -> Window:
    """Return what the mask would show; registered with ``transformers`` as a kind of mask.

    The model's own mask function is asked at positions around the window and far beyond it, so the
    answer holds for texts of any length.

    Args:
        mask_function: The model's mask function.
        local_size: How far it reaches, by the model.
        **unused: Lengths and whatever else ``transformers`` passes.

    Returns:
        The window; an unknown one where the mask is neither causal nor causal within a window.
    """
    near = local_size or 1
    for size in dict.fromkeys((local_size, None)):
        rows = sorted({0, 1, near - 1, near, near + 1, 3 * near + 2, _FAR if size is None else 0})
        if all(_shows(mask_function, row, size) for row in rows):
            return Window(size)
    return Window(known=False)


def _shows(mask_function: MaskFunction, row: int, size: int | None) -> bool:
    """Return whether a query sees all slots of a window that ends with its own, and no others."""
    zero = torch.zeros((1, 1, 1, 1), dtype=torch.long)
    slot = torch.arange(row + 2)
    seen = mask_function(zero, zero, zero + row, slot[None, None, None])
    wanted = (slot <= row) & (slot > row - (size or row + 1))
    return torch.equal(seen.expand(1, 1, 1, row + 2)[0, 0, 0], wanted)


def kept_by_cache(config: Any) -> dict[int, int]:
    """Return by layer how many positions the cache of ``generate`` keeps, the newest included.

    The cache goes by the config, not by what the layers are: it forgets whatever lies outside
    ``config.sliding_window`` even where the architecture has no such thing. A prompt is seen whole
    all the same, because it is computed before the cache forgets.

    Args:
        config: The model's text config.
    """
    return dict(_forgetful_layers(config))


def _forgetful_layers(config: Any) -> Iterator[tuple[int, int]]:
    """Yield the layers of which the cache forgets, and how many positions it keeps of each."""
    try:
        layers = DynamicCache(config=config).layers
    except Exception:  # noqa: BLE001 -- a config that no cache is made of makes none forget
        return
    for index, layer in enumerate(layers):
        size = getattr(layer, "sliding_window", None)
        if size:
            yield index, int(size)

"""Values of a Hugging Face config, each checked when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adadecode.profiles.catalog.model_shape import checked_flag, checked_size
from adadecode.profiles.errors import ShapeError

SPELLINGS = {
    "n_layers": ("num_hidden_layers", "n_layer"),
    "hidden_size": ("hidden_size", "n_embd"),
    "intermediate_size": ("intermediate_size",),
    "expert_size": ("moe_intermediate_size",),
    "n_heads": ("num_attention_heads", "n_head"),
    "n_kv_heads": ("num_key_value_heads", "num_kv_heads", "num_query_groups"),
    "head_dim": ("head_dim", "kv_channels"),
    "vocab_size": ("vocab_size",),
    "max_positions": ("max_position_embeddings", "n_positions", "model_max_length"),
    "n_experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "experts_per_token": ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk"),
    "shared_experts": ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"),
    "shared_size": (
        *("shared_expert_intermediate_size", "shared_intermediate_size"),
        "moe_shared_expert_intermediate_size",
    ),
    "dense_layers": ("first_k_dense_replace", "num_dense_layers"),
}
"""Keys that configs use for each of our sizes."""


class ConfigValues:
    """Reads values from one config.

    A key set to null stays null: ``"sliding_window": null`` says that there is no window.

    Args:
        name: Name of the model, for messages.
        config: The config, with what it leaves out filled in.
    """

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name, self.config = name, config

    def whole(self, key: str) -> int | None:
        """Return the whole number under this key, 1 or more; None where there is none."""
        value = self.config.get(key)
        return None if value is None else checked_size(self.name, key, value)

    def count(self, *keys: str) -> int:
        """Return the whole number under the first of these keys that is there; 0 without one."""
        for key in keys:
            value = self.config.get(key)
            if value is not None:
                is_zero = isinstance(value, int) and not isinstance(value, bool) and value == 0
                return 0 if is_zero else checked_size(self.name, key, value)
        return 0

    def flag(self, key: str, *, default: bool) -> bool:
        """Return the boolean under this key; null is no."""
        value = self.config.get(key, default)
        return value is not None and checked_flag(self.name, key, value)

    def found(self, what: str) -> int | None:
        """Return the size under any of its keys; None where the config has none."""
        return next(
            (size for key in SPELLINGS[what] if (size := self.whole(key)) is not None), None
        )

    def size(self, what: str) -> int:
        """Return the size under any of its keys. Raises ShapeError where there is none."""
        size = self.found(what)
        if size is None:
            raise ShapeError(
                f"{self.name}: the config has no {' or '.join(SPELLINGS[what])}: "
                "add it, as no size is guessed"
            )
        return size

    def texts(self, key: str) -> list[str] | None:
        """Return the list of texts under this key; None where there is none or it is empty."""
        value = self.config.get(key)
        if value is None or value == []:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
            raise ShapeError(
                f"{self.name}: {key} is {value!r:.99}: wanted a list with a text for every layer"
            )
        return list(value)

    def numbers(self, key: str) -> list[int] | None:
        """Return the list of whole numbers under this key; None where there is none."""
        value = self.config.get(key)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(one, int) and not isinstance(one, bool) for one in value
        ):
            raise ShapeError(f"{self.name}: {key} is {value!r:.99}: wanted a list of whole numbers")
        return list(value)

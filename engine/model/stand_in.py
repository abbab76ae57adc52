"""A module that takes a layer's place, to find out what a model does around its layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class PassEnded(Exception):
    """Ends a forward pass of which the rest is not wanted."""


Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a layer, without its hidden states."""


class StandIn(nn.Module):
    """Takes a layer's place in the model's own forward pass.

    It records the arguments it is called with in ``call``, and passes the hidden states on.

    Args:
        layer: The layer whose place it takes, and whose attributes it shows.
        in_tuple: Whether the layer returns a tuple.
        replacement: Hidden states to return in place of those it is given.
        ends: Whether the pass ends here, so that nothing after it is computed.
    """

    def __init__(
        self,
        layer: nn.Module,
        *,
        in_tuple: bool,
        replacement: torch.Tensor | None = None,
        ends: bool = False,
    ) -> None:
        super().__init__()
        self.__dict__["layer"] = layer  # not a submodule: the stand-in owns no weights
        self.__dict__["replacement"] = replacement
        self.in_tuple = in_tuple
        self.ends = ends
        self.call: Call = ((), {})

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["layer"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Record the call and pass the hidden states on.

        Raises:
            PassEnded: The pass ends here.
        """
        self.call = (args, kwargs)
        if self.ends:
            raise PassEnded
        hidden = self.__dict__["replacement"]
        if hidden is None:
            hidden = self.hidden
        return (hidden,) if self.in_tuple else hidden

    @property
    def hidden(self) -> torch.Tensor:
        """The hidden states ``(1, n, d)`` that it was called with."""
        args, kwargs = self.call
        found: torch.Tensor = args[0] if args else kwargs["hidden_states"]
        return found

    @property
    def other_arguments(self) -> Call:
        """What it was called with beyond the hidden states."""
        args, kwargs = self.call
        return args[1:], {k: v for k, v in kwargs.items() if k != "hidden_states"}

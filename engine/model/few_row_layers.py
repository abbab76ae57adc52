"""A model's own modules, but for what multiplies few rows: shadows whose linear parts read once.

The model is not changed. A linear part of a shadow *is* the model's own in all but its class: it
has the same weights, hooks and settings, also those that it gets later. Whatever else is not a
plain ``nn.Linear`` in CPU memory stays as the model has it.
"""

from __future__ import annotations

from operator import is_

import torch
from torch import nn

from adadecode.engine.model import few_rows
from adadecode.engine.model.shadow import is_compiled, original, shadow

_SHARED = tuple(
    name
    for name, value in vars(nn.Module()).items()
    if isinstance(value, dict) and name != "_modules"
)
"""Tables that a shadow here has in common with its module: its weights and hooks."""


class FewRowLinear(nn.Linear):
    """A linear part that multiplies by `few_rows.linear`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- the name it overrides
        """Return what the linear part itself does."""
        return few_rows.linear(input, self.weight, self.bias)


class SteadyLinear(FewRowLinear):
    """A linear part that multiplies by `few_rows.steady_linear`, the same in every process."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- the name it overrides
        """Return what the linear part itself does."""
        return few_rows.steady_linear(input, self.weight, self.bias)


class Served:
    """A module with its linear parts exchanged, made again when a part of it is another one.

    Args:
        module: The model's own.
        linear: What its linear parts become.
    """

    def __init__(self, module: nn.Module, linear: type[FewRowLinear] = FewRowLinear) -> None:
        self._own, self._linear = module, linear
        self._parts: list[tuple[dict[str, nn.Module | None], tuple[nn.Module | None, ...]]] = []
        self._made = self._served(module)

    def of(self, module: nn.Module) -> nn.Module:
        """Return what serves for the module that is in its place now."""
        if module is not self._own or not all(
            len(now) == len(then) and all(map(is_, now.values(), then)) for now, then in self._parts
        ):
            self.__init__(module, self._linear)  # type: ignore[misc]
        return self._made

    def _served(self, module: nn.Module) -> nn.Module:
        module = original(module)
        if type(module) is nn.Linear:
            return _as(self._linear, module) if few_rows.serves(module.weight) else module
        children = {
            name: child
            for name, child in module._modules.items()
            if child is not None and not is_compiled(child)
        }
        found = {name: self._served(child) for name, child in children.items()}
        self._parts.append((module._modules, tuple(module._modules.values())))
        if all(children[name] is child for name, child in found.items()):
            return shadow(module) if is_compiled(module) else module
        made = shadow(module)
        for name in _SHARED:
            made.__dict__[name] = vars(module)[name]
        made._modules.update(found)
        return made


def _as(kind: type[FewRowLinear], linear: nn.Linear) -> FewRowLinear:
    """Return a linear part that is the given one in all but its class."""
    made: FewRowLinear = object.__new__(kind)
    made.__dict__ = linear.__dict__
    return made

"""Copies of modules that share all weights, so that a part may be exchanged for one thread alone.

A model may be in use by another thread at any time. So nothing of it is ever replaced, hooked or
given other weights in place: that is done to a shadow of the modules around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MethodType
from typing import Any

from torch import nn

_TABLES = tuple(name for name, value in vars(nn.Module()).items() if isinstance(value, dict))
"""Attributes in which a module keeps its weights, parts and hooks."""


def shadow(module: nn.Module) -> nn.Module:
    """Return a module with this one's weights and parts, whose tables are its own.

    Methods that were set on the module itself, as ``accelerate`` does, are those of the shadow. A
    compiled call is left behind, because it calls the module.
    """
    made: nn.Module = object.__new__(type(module))
    for name, value in vars(module).items():
        made.__dict__[name] = value.copy() if name in _TABLES else _rebound(value, module, made)
    made.__dict__.pop("_compiled_call_impl", None)
    return made


def deep_shadow(module: nn.Module, made: dict[nn.Module, nn.Module] | None = None) -> nn.Module:
    """Return a shadow of a module and of all modules in it.

    Args:
        module: The module.
        made: Shadows by module, where some are made already.
    """
    made = {} if made is None else made
    if module not in made:
        made[module] = shadow(module)
        for name, child in made[module]._modules.items():
            if child is not None:
                made[module]._modules[name] = deep_shadow(child, made)
    return made[module]


def exchanged(module: nn.Module, parts: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """Return a module with some parts exchanged.

    Args:
        module: The module.
        parts: What stands in the place of what, wherever in the module it is.

    Returns:
        A shadow of the module, or the module itself where it has none of these parts.
    """
    if module in parts:
        return parts[module]
    found = {
        name: exchanged(child, parts)
        for name, child in module._modules.items()
        if child is not None
    }
    if all(module._modules[name] is child for name, child in found.items()):
        return module
    made = shadow(module)
    made._modules.update(found)
    return made


def _rebound(value: Any, old: nn.Module, new: nn.Module) -> Any:
    """Return an attribute of ``old`` as one of ``new``, where it is bound to the module."""
    if isinstance(value, MethodType) and value.__self__ is old:
        return MethodType(value.__func__, new)
    if isinstance(value, partial) and any(argument is old for argument in value.args):
        arguments = (new if argument is old else argument for argument in value.args)
        made = partial(value.func, *arguments, **value.keywords)
        made.__dict__.update(vars(value))
        return made
    return value

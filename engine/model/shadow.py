"""Copies of modules that share all weights, so that a part may be exchanged for one thread alone.

A model may be in use by another thread at any time. So nothing of it is ever replaced, hooked or
given other weights in place: that is done to a shadow of the modules around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

from torch import nn

_TABLES = tuple(name for name, value in vars(nn.Module()).items() if isinstance(value, dict))
"""Attributes in which a module keeps its weights, parts and hooks."""

_COMPILED = "_orig_mod"
"""Where what ``torch.compile`` makes of a module keeps the module."""

_COMPILED_FUNCTION = "_torchdynamo_orig_callable"
"""Where what ``torch.compile`` makes of a function keeps the function."""


def shadow(module: nn.Module) -> nn.Module:
    """Return a module with this one's weights and parts, whose tables are its own.

    Methods that were set on the module itself, as ``accelerate`` does, are those of the shadow, and
    so are functions around them. Nothing is compiled by ``torch.compile``, whose code calls the
    module.
    """
    module = original(module)
    made: nn.Module = object.__new__(type(module))
    for name, value in vars(module).items():
        made.__dict__[name] = value.copy() if name in _TABLES else _rebound(value, module, made)
    made.__dict__.pop("_compiled_call_impl", None)
    return made


def original(module: nn.Module) -> Any:
    """Return the module that ``torch.compile`` was given, or the module itself."""
    found = module._modules.get(_COMPILED)
    return module if found is None else found


def is_compiled(module: nn.Module) -> bool:
    """Return whether a module is called by what ``torch.compile`` made of it."""
    return (
        module._compiled_call_impl is not None
        or _COMPILED in module._modules
        or hasattr(module.__dict__.get("forward"), _COMPILED_FUNCTION)
    )


def uncompiled(module: nn.Module) -> nn.Module:
    """Return a module, or a shadow of it where it is compiled."""
    return shadow(module) if is_compiled(module) else module


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
    if (within := original(module)) is not module:
        made = exchanged(within, parts)
        return module if made is within else made
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


def _rebound(value: Any, old: nn.Module, new: nn.Module, within: tuple[Any, ...] = ()) -> Any:
    """Return an attribute of ``old`` as one of ``new``, where it is bound to the module.

    Args:
        value: The attribute, or what a function holds.
        old: The module.
        new: Its shadow.
        within: Functions that hold the value; one may hold itself.
    """
    if value is old:
        return new
    if isinstance(value, MethodType) and value.__self__ is old:
        return MethodType(_rebound(value.__func__, old, new, within), new)
    if isinstance(value, partial):
        function = _rebound(value.func, old, new, within)
        arguments = [_rebound(argument, old, new, within) for argument in value.args]
        if function is value.func and _same(arguments, value.args):
            return value
        made = partial(function, *arguments, **value.keywords)
        made.__dict__.update(vars(value))
        return made
    if isinstance(value, FunctionType) and value not in within:
        return _rebound_function(value, old, new, (*within, value))
    return value


def _rebound_function(
    function: FunctionType, old: nn.Module, new: nn.Module, within: tuple[Any, ...]
) -> Any:
    """Return a function, or one that holds ``new`` where it holds ``old``; none is compiled."""
    if (plain := vars(function).get(_COMPILED_FUNCTION)) is not None:
        return _rebound(plain, old, new, within)
    cells = function.__closure__ or ()
    made = tuple(_rebound_cell(cell, old, new, within) for cell in cells)
    named = function.__kwdefaults__ or {}
    defaults = (*(function.__defaults__ or ()), *named.values())
    given = [_rebound(value, old, new, within) for value in defaults]
    if _same(made, cells) and _same(given, defaults):
        return function
    first = len(defaults) - len(named)
    copied = FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        tuple(given[:first]),
        made or None,
    )
    copied.__kwdefaults__ = dict(zip(named, given[first:], strict=True))
    copied.__dict__.update(vars(function))
    return copied


def _rebound_cell(
    cell: CellType, old: nn.Module, new: nn.Module, within: tuple[Any, ...]
) -> CellType:
    """Return what a function holds in a variable of its own, or the same bound to ``new``."""
    try:
        value = cell.cell_contents
    except ValueError:  # it holds nothing yet
        return cell
    made = _rebound(value, old, new, within)
    return cell if made is value else CellType(made)


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether these are the very same objects, as many as the others."""
    return all(one is other for one, other in zip(some, others, strict=True))

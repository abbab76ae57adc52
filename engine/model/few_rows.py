"""Products of few rows by a matrix on a CPU, which read the matrix once.

Libraries are made for many rows: two or three often cost them two and three single ones. So there
is a product of our own (``few_rows.cpp``), compiled when it is first needed, and a way to have two
or three rows multiplied fast by a library (``transposed``). What multiplies a matrix is measured
once for each shape, format and number of threads, and is the same from then on, for vanilla and
every design (decision 0042). Elsewhere, and for more rows, it is ``F.linear``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from threading import RLock
from typing import Any

import torch
from torch.nn import functional as F

from adadecode.engine.runtime.native_library import native_library
from adadecode.engine.runtime.timing_in_turn import least_seconds

MOST = 16
"""Rows of the largest product that is one of few rows."""

Product = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""Takes rows ``(..., d)``, a matrix ``(n, d)`` and a bias ``(n,)``; returns ``(..., n)``."""

Way = tuple[str, ...]
"""What multiplies 0 to `MOST` rows: for each number of rows, a key of `PRODUCTS`."""

SOURCE = Path(__file__).with_name("few_rows.cpp")

_FUNCTIONS = {torch.float32: "few_rows_float32", torch.bfloat16: "few_rows_bfloat16"}
_SMALLEST = 2**14  # numbers of a matrix: below it, calling takes longer than multiplying
_TIMED_ROWS = range(1, 9)
_TIMED_NUMBERS = 2**19  # of a matrix, at most: its first rows stand for all
_TRIED = 64  # rows of a matrix on which our product is tried
_LAPS = 3
_OFF = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # of the largest number of a product
_PREFERRED = 0.9  # a library's product must take less than this part of ours, or of its plain one

_lock = RLock()
_ways: dict[tuple[torch.dtype, tuple[int, ...], int], Way] = {}
_right: dict[tuple[torch.dtype, int], bool] = {}
_library_alone = False


def serves(weight: torch.Tensor) -> bool:
    """Return whether products of few rows by a matrix may be ours."""
    return (
        weight.is_cpu
        and weight.dtype in _FUNCTIONS
        and type(weight) in (torch.Tensor, torch.nn.Parameter)
        and weight.layout is torch.strided
        and weight.ndim == 2
        and weight.numel() >= _SMALLEST
        and weight.is_contiguous()
    )


def linear(
    given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Return what ``F.linear`` does, the matrix read once where there are few rows.

    Args:
        given: Shape ``(..., d)``.
        weight: Shape ``(n, d)``.
        bias: Shape ``(n,)``.

    Returns:
        A tensor of shape ``(..., n)``.
    """
    if not _few(given, weight, bias):
        return F.linear(given, weight, bias)
    rows = given.numel() // given.shape[-1]
    return PRODUCTS[way_of(weight)[rows]](given, weight, bias)


def steady_linear(
    given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Return what `linear` does, by a product that nothing timed chose.

    It is ours wherever that is right, so that any two processes on a machine agree in every bit.
    Arguments and result are those of `linear`.
    """
    if _few(given, weight, bias) and _steadily_ours(weight):
        return _compiled(given, weight, bias)
    return F.linear(given, weight, bias)


def _few(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Return whether a product is one of few rows, which `PRODUCTS` can be asked for."""
    width = given.shape[-1]
    return (
        0 < width == weight.shape[-1]
        and 1 <= given.numel() // width <= MOST
        and not _library_alone
        and given.is_cpu
        and given.dtype == weight.dtype
        and not torch.is_grad_enabled()
        and type(given) is torch.Tensor
        and serves(weight)
        and (bias is None or (bias.dtype == weight.dtype and bias.is_contiguous()))
    )


def way_of(weight: torch.Tensor) -> Way:
    """Return what multiplies a matrix that `serves` allows, measured where nobody did yet."""
    found = known_way(weight)
    if found is None:
        with _lock:
            found = known_way(weight)
            if found is None:
                with torch.inference_mode():
                    found = _ways[_key(weight)] = _choose(weight)
    return found


def known_way(weight: torch.Tensor) -> Way | None:
    """Return what multiplies matrices of this shape; None where nobody measured."""
    return _ways.get(_key(weight))


def _key(weight: torch.Tensor) -> tuple[torch.dtype, tuple[int, ...], int]:
    return weight.dtype, tuple(weight.shape), torch.get_num_threads()


def describe_ways() -> list[dict[str, Any]]:
    """Return what multiplies few rows in this process, as a manifest holds it."""
    return [
        {
            "dtype": str(dtype).removeprefix("torch."),
            "shape": list(shape),
            "threads": threads,
            "rows": list(dict.fromkeys(way[1:])) if len(set(way[1:])) == 1 else list(way[1:]),
        }
        for (dtype, shape, threads), way in sorted(_ways.items(), key=str)
    ]


@contextmanager
def by_library_alone() -> Iterator[None]:
    """Let ``F.linear`` multiply in this process, as if there were nothing else.

    Models that are compiled within have products without ours, too.
    """
    global _library_alone  # noqa: PLW0603 -- one choice for a process
    before, _library_alone = _library_alone, True
    try:
        yield
    finally:
        _library_alone = before


def is_ours(weight: torch.Tensor) -> bool:
    """Return whether every product of few rows by matrices of this shape is our own."""
    way = None if _library_alone else known_way(weight)
    return way is not None and set(way[1:]) == {"compiled"}


# -- the choice --------------------


def _choose(weight: torch.Tensor) -> Way:
    """Measure what multiplies a matrix soonest.

    Our own product multiplies any number of rows, so that a row's bits never depend on the others.
    It is taken unless libraries are sooner over all numbers of rows.
    """
    width = weight.shape[1]
    part = weight.detach()[: max(1, _TIMED_NUMBERS // width)]
    rows = _rows_to_try(weight)
    names = ["library", "transposed"]
    if _is_right(part[:_TRIED], rows):
        names.append("compiled")
    seconds = {count: _least_seconds(names, rows[:count], part) for count in _TIMED_ROWS}
    if "compiled" in names:
        ours = sum(found["compiled"] for found in seconds.values())
        theirs = sum(min(found["library"], found["transposed"]) for found in seconds.values())
        if ours * _PREFERRED <= theirs:
            return ("compiled",) * (MOST + 1)
    return tuple(_of_a_library(seconds.get(count)) for count in range(MOST + 1))


def _steadily_ours(weight: torch.Tensor) -> bool:
    """Return whether our product is right for matrices of this format and width."""
    key = weight.dtype, weight.shape[1]
    found = _right.get(key)
    if found is None:
        with _lock, torch.inference_mode():
            found = _right[key] = _is_right(weight.detach()[:_TRIED], _rows_to_try(weight))
    return found


def _rows_to_try(weight: torch.Tensor) -> torch.Tensor:
    """Return rows ``(MOST, d)`` for a matrix ``(n, d)``."""
    width = weight.shape[1]
    return torch.linspace(-1, 1, MOST * width).to(weight.dtype).reshape(MOST, width)


def _of_a_library(seconds: dict[str, float] | None) -> str:
    """Return which product of a library is taken, by what each takes."""
    if seconds is None or seconds["transposed"] > _PREFERRED * seconds["library"]:
        return "library"
    return "transposed"


def _least_seconds(
    names: Sequence[str], rows: torch.Tensor, weight: torch.Tensor
) -> dict[str, float]:
    """Return the least seconds of each product, timed in turn."""
    return least_seconds(
        {name: partial(PRODUCTS[name], rows, weight, None) for name in names}, _LAPS
    )


def _is_right(weight: torch.Tensor, rows: torch.Tensor) -> bool:
    """Return whether our product is here, is right, and gives a row the same bits in any batch."""
    if why_not_compiled() is not None:
        return False
    with_bias = weight[:, 0].contiguous()
    ours, theirs = _compiled(rows, weight, with_bias), F.linear(rows, weight, with_bias)
    allowed = _OFF[weight.dtype] * max(1e-6, float(theirs.abs().max()))
    if not float((ours.float() - theirs.float()).abs().max()) <= allowed:
        return False
    return all(
        torch.equal(_compiled(rows[start : start + count], weight, with_bias), ours[start:][:count])
        for count in range(1, MOST + 1)
        for start in (0, MOST - count)
    )


# -- the products --------------------


@cache
def _library() -> Any:
    """Return our compiled product, or why there is none."""
    try:
        return native_library(SOURCE)
    except LookupError as error:
        return str(error)


def why_not_compiled() -> str | None:
    """Return why our own product is not to be had here; None where it is."""
    with _lock:
        found = _library()
    return found if isinstance(found, str) else None


@cache
def _function(dtype: torch.dtype) -> Any:
    import ctypes

    function = getattr(_library(), _FUNCTIONS[dtype])
    function.argtypes, function.restype = [ctypes.c_void_p] * 4 + [ctypes.c_long] * 4, None
    return function


def _compiled(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply by the product of ours."""
    out = given.new_empty((*given.shape[:-1], weight.shape[0]))
    multiply_into(given, weight, bias, out)
    return out


def multiply_into(
    given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, out: torch.Tensor
) -> None:
    """Multiply by the product of ours into a contiguous tensor ``(..., n)``."""
    given, of = given.contiguous(), weight.shape[0]
    _function(weight.dtype)(
        given.data_ptr(),
        weight.data_ptr(),
        None if bias is None else bias.data_ptr(),
        out.data_ptr(),
        out.numel() // of,
        weight.shape[1],
        of,
        torch.get_num_threads(),
    )


def _transposed(
    given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Multiply with the matrix on the left, a single row as if it were two."""
    flat = given.reshape(-1, given.shape[-1])
    rows = len(flat)
    out = (weight @ (flat.expand(2, -1) if rows == 1 else flat).t())[:, :rows].t()
    out = out.reshape(*given.shape[:-1], len(weight))
    return out if bias is None else out + bias


PRODUCTS: dict[str, Product] = {
    "library": F.linear,
    "transposed": _transposed,
    "compiled": _compiled,
}
"""The products by name."""

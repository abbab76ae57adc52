"""Traces of layers, compiled by inductor without what training needs around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.func import functionalize

from adadecode.engine.model.few_rows import is_ours
from adadecode.engine.model.few_rows_operator import few_rows_of, teach_inductor
from adadecode.engine.model.padding import SIZES

Compiled = Callable[[list[Any]], Sequence[torch.Tensor]]
"""Takes the list of its inputs, which it empties."""

_HALF = (torch.bfloat16, torch.float16)


@contextmanager
def tracing_alone() -> Iterator[None]:
    """Keep other threads from tracing and compiling, also by ``torch.compile``, and from traces.

    Torch patches the modules of the whole process while it traces. Two traces at once would leave
    them patched for good, and modules that other threads call would be taken for part of the trace.
    """
    from torch._dynamo.convert_frame import compile_lock
    from torch.fx._symbolic_trace import _Patcher

    with compile_lock:
        patch = _Patcher.patch_method
        try:
            _Patcher.patch_method = _for_its_thread(patch)  # type: ignore[method-assign]
            yield
        finally:
            _Patcher.patch_method = patch  # type: ignore[method-assign]


def _for_its_thread(patch: Callable[..., Any]) -> Callable[..., Any]:
    """Return a way to patch a method that the patching thread alone meets."""

    def patch_method(self: Any, cls: type, name: str, new: Any, *args: Any, **kwargs: Any) -> Any:
        whose, before = get_ident(), getattr(cls, name)

        @wraps(new)
        def called(*given: Any, **named: Any) -> Any:
            return (new if get_ident() == whose else before)(*given, **named)

        return patch(self, cls, name, called, *args, **kwargs)

    return patch_method


def weights_by_name(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of a module by name."""
    return {
        name: tensor.detach()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


def trace(
    call: Callable[..., Any],
    inputs: Sequence[torch.Tensor],
    symbols: dict[int, dict[int, int]],
    *,
    by_sums: bool = False,
) -> tuple[Any, list[Any]]:
    """Trace a call on fake tensors.

    Args:
        call: What is traced.
        inputs: Tensors like those that it will be called with.
        symbols: By number of the input and axis, the sizes that may vary, and that of the example.
        by_sums: Whether sums stand for products of few rows that would be our own.

    Returns:
        The graph, and the fake inputs that it was traced with.

    Raises:
        ValueError: The graph is for the example's sizes alone.
    """
    from torch._dispatch.python import enable_python_dispatcher
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import ShapeEnv, is_concrete_int

    mode = FakeTensorMode(shape_env=ShapeEnv(duck_shape=False))
    with torch.inference_mode(mode=False), torch.no_grad():
        examples = [
            _fake_input(mode, tensor, symbols.get(number, {}))
            for number, tensor in enumerate(inputs)
        ]
        # without its dispatcher torch 2.11 takes the example's bucket for the bucket in products
        with mode, enable_python_dispatcher():
            graph = make_fx(
                functionalize(call, remove="mutations"),
                decomposition_table=_decompositions(inputs[0].device, by_sums),
                tracing_mode="real",
            )(*examples)
    if any(
        is_concrete_int(examples[at].shape[axis]) for at, free in symbols.items() for axis in free
    ):
        raise ValueError("its trace is for one length alone")
    return graph, examples


def _fake_input(mode: Any, tensor: torch.Tensor, free: dict[int, int]) -> torch.Tensor:
    """Return a fake tensor like this one.

    Args:
        mode: The mode of fake tensors.
        tensor: The tensor.
        free: By axis, the example's size where the size may vary.
    """
    from torch.fx.experimental.symbolic_shapes import DimDynamic, StatelessSymbolicContext

    if free or tensor.is_contiguous():
        size = [free.get(axis, n) for axis, n in enumerate(tensor.shape)]
        meta = torch.empty(size, dtype=tensor.dtype, device="meta")
    else:
        meta = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    dynamic = [
        DimDynamic.DYNAMIC if axis in free else DimDynamic.STATIC for axis in range(tensor.ndim)
    ]
    fake = mode.from_tensor(meta, symbolic_context=StatelessSymbolicContext(dynamic_sizes=dynamic))
    with mode:
        return torch.empty_strided(
            fake.shape, fake.stride(), dtype=tensor.dtype, device=tensor.device
        )


def _decompositions(device: torch.device, by_sums: bool) -> dict[Any, Any]:
    """Return inductor's decompositions, and on a CPU our own of products of few rows.

    Libraries read weights at half the memory's speed or less there (decision 0017).
    """
    from torch._inductor.decomposition import select_decomp_table

    table = dict(select_decomp_table())
    if device.type == "cpu":
        table[torch.ops.aten.mm.default] = partial(_mm, by_sums=by_sums)
        table[torch.ops.aten.addmm.default] = partial(_addmm, by_sums=by_sums)
    return table


def _mm(rows: torch.Tensor, matrix: torch.Tensor, *, by_sums: bool) -> Any:
    """Multiply up to eight rows by our own product, or by sums over each row of the weight.

    Inductor vectorises and fuses the sums, so that the weight is read once for all rows. Other
    products stay as they are.
    """
    if rows.shape[0] > SIZES[-1] or matrix.stride(0) != 1 or matrix.shape[0] == 1:
        return NotImplemented
    weight, exact = matrix.t(), torch.float32 if rows.dtype in _HALF else rows.dtype
    ours = not by_sums and rows.dtype == weight.dtype and weight.is_contiguous()
    if ours and is_ours(weight):
        return few_rows_of(rows, weight)
    given = rows.to(exact).contiguous()
    # this makes it a buffer: else the norm before it is computed anew for each row of the weight
    given = given.as_strided(given.shape, given.stride())
    return torch.stack([(row * weight.to(exact)).sum(-1) for row in given.unbind()]).to(rows.dtype)


def _addmm(
    bias: torch.Tensor,
    rows: torch.Tensor,
    matrix: torch.Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
    by_sums: bool,
) -> Any:
    """Add a bias to a product where the product is one of `_mm`."""
    product = _mm(rows, matrix, by_sums=by_sums) if alpha == beta == 1 else NotImplemented
    return product if product is NotImplemented else product + bias


def compile_trace(graph: Any, examples: Sequence[Any]) -> Compiled:
    """Compile a trace by inductor, without the layers around it that a training framework needs.

    There are no guards and there is no autograd.
    """
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    teach_inductor()
    mode = next(example.fake_mode for example in examples)
    with (
        torch.inference_mode(mode=False),
        torch.no_grad(),
        config.patch(size_asserts=False, alignment_asserts=False),
        tracing(TracingContext(mode)),
        unset_fake_temporarily(),
    ):
        made = compile_fx_inner(graph, list(examples))
    return getattr(made, "current_callable", None) or made


def trace_text(graph: Any) -> str:
    """Return what a trace computes, and on which shapes."""
    shapes = [
        (str(value.dtype), [str(n) for n in value.shape], [str(n) for n in value.stride()])
        for value in (node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder")
    ]
    return f"{graph.code}\n{shapes}"

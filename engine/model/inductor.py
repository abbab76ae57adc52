"""Layers and heads compiled by inductor, once for each kind of layer and number of rows, with the weights as inputs.

A layer is traced as it is (``make_fx`` on fake tensors: no guards, no graph breaks), and layers whose traces are the same share one compiled function,
so that what is compiled does not grow with the depth of the model. The bucket and the buffers' length are symbols: one function serves all lengths. What
cannot be traced (experts chosen by token) or compiled (no compiler) stays as it is, with a message. Every compiled function is held against the layer it
came from when it is first used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, functionalize

from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.model.static_shapes import (
    SIZES,
    Arguments,
    StaticModel,
    Step,
    in_static_shapes,
    passing,
)

Compiled = Callable[[list[Any]], Sequence[torch.Tensor]]
"""Takes the list of its inputs, which it empties."""

TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3}
"""Largest difference from the layer itself, as a part of its largest value (norms compute in FP32 even in an FP64 model); 16-bit formats 5e-2."""

_HALF = (torch.bfloat16, torch.float16)
_SLOTS, _BUCKET = (
    331,
    192,
)  # of the example that is traced; unlike any size of a model and each other


def why_not(device: torch.device) -> str | None:
    """Why nothing can be compiled for this device, None where it can."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "no Triton for this GPU"
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:
        return f"no C++ compiler was found ({type(error).__name__}): install g++, or name one in the environment variable CXX"
    return None


class Compiler:
    """Compiles one model's layers and heads as they are first needed. seconds: spent on it. variants: functions made."""

    def __init__(self, parts: StaticModel, fall_back: Callable[[str], None]) -> None:
        self.parts, self.fall_back = parts, fall_back
        self.seconds = 0.0
        self.variants = 0
        self._weights = [list(_weights(layer).values()) for layer in parts.layers]
        self._kinds: dict[int, str] = {}
        self._made: dict[tuple[str, int, int], Compiled | None] = {}
        self._ready: dict[tuple[int, int, int], Compiled | None] = {}
        self._tails = {what: _Tail(parts, what) for what in ("normed", "unembed", "logits")}

    # -- layers ------------------------------------------------------------------------------------------------------

    def layer(
        self, index: int, hidden: torch.Tensor, step: Step, arguments: Arguments
    ) -> torch.Tensor | None:
        """One layer on hidden (1, N, d); None where it could not be compiled."""
        key = (index, hidden.shape[1], torch.get_num_threads())
        try:
            made = self._ready[key]
        except KeyError:
            made = self._ready[key] = self._layer(index, hidden, step, arguments)
        if made is None:
            return None
        return made(self._inputs(index, hidden, step, arguments))[0]

    def _inputs(
        self, index: int, hidden: torch.Tensor, step: Step, arguments: Arguments
    ) -> list[Any]:
        leaves = [step.leaves[number] for number in arguments.used(index)]
        mask = step.masks[self.parts.windows.get(index) or None]
        return [
            hidden,
            step.slots,
            mask,
            step.keys[index],
            step.values[index],
            *leaves,
            *self._weights[index],
        ]

    def _layer(
        self, index: int, hidden: torch.Tensor, step: Step, arguments: Arguments
    ) -> Compiled | None:
        """The function of a layer's kind for this many rows, made where there is none yet, and tried."""
        begun = time.perf_counter()
        try:
            rows, threads = hidden.shape[1], torch.get_num_threads()
            if index not in self._kinds:
                one = self.parts.step_at(step.slots[:1], step.bucket)
                self._kinds[index] = _text(
                    self._trace_layer(index, hidden[:, :1], one, arguments)[0]
                )
            key = (self._kinds[index], rows, threads)
            if key not in self._made:
                self._made[key] = None
                graph, examples = self._trace_layer(index, hidden, step, arguments)
                made = _compiled(graph, examples)
                self.variants += 1
                expected = self.parts.call_layer(
                    index, hidden, step, *arguments.call(index, step.leaves)
                )
                self._hold(
                    made(self._inputs(index, hidden, step, arguments))[0], expected, hidden.dtype
                )
                self._made[key] = made
            return self._made[key]
        except Exception as error:
            self.fall_back(
                f"a layer of {self.parts.name} was not compiled and runs as it is: {reason_of(error)}"
            )
            return None
        finally:
            self.seconds += time.perf_counter() - begun

    def _trace_layer(
        self, index: int, hidden: torch.Tensor, step: Step, arguments: Arguments
    ) -> tuple[Any, list[Any]]:
        layer, numbers = self.parts.layers[index], arguments.used(index)
        window = self.parts.windows.get(index) or None
        names = list(_weights(layer))
        inputs = self._inputs(index, hidden, step, arguments)

        def call(
            hidden: Any, slots: Any, mask: Any, keys: Any, values: Any, *rest: Any
        ) -> tuple[Any]:
            given = dict(zip(numbers, rest, strict=False))
            args, kwargs = arguments.call(index, given)
            now = Step(
                slots=slots,
                masks={window: mask},
                leaves=(),
                keys={index: keys},
                values={index: values},
            )
            with passing(now):
                out = functional_call(
                    layer,
                    dict(zip(names, rest[len(numbers) :], strict=True)),
                    (hidden, *args),
                    kwargs,
                )
            return (out[0] if isinstance(out, tuple) else out,)

        with in_static_shapes(self.parts.config):
            return _traced(call, inputs, symbols={2: {1: _BUCKET}, 3: {2: _SLOTS}, 4: {2: _SLOTS}})

    # -- after the layers --------------------------------------------------------------------------------------------

    def tail(self, what: str, given: torch.Tensor) -> torch.Tensor | None:
        """``normed``, ``unembed`` or ``logits`` of (1, N, d); None where it could not be compiled."""
        key = (what, given.shape[1], torch.get_num_threads())
        tail = self._tails[what]
        if key not in self._made:
            begun = time.perf_counter()
            self._made[key] = None
            try:
                graph, examples = _traced(tail.call, [given, *tail.weights], symbols={})
                made = _compiled(graph, examples)
                self.variants += 1
                self._hold(made([given, *tail.weights])[0], tail(given), given.dtype)
                self._made[key] = made
            except Exception as error:
                self.fall_back(
                    f"the {what} of {self.parts.name} were not compiled and run as they are: {reason_of(error)}"
                )
            finally:
                self.seconds += time.perf_counter() - begun
        found = self._made[key]
        return None if found is None else found([given, *tail.weights])[0]

    @staticmethod
    def _hold(got: torch.Tensor, expected: torch.Tensor, computed: torch.dtype) -> None:
        """Raises ValueError where a compiled function differs from what it was made of. computed: the format it computes in."""
        difference = float((got.double() - expected.double()).abs().max())
        allowed = TOLERANCE.get(computed, 5e-2) * max(1.0, float(expected.abs().max()))
        if got.shape != expected.shape or not difference <= allowed:
            raise ValueError(f"compiled, it differs from itself by {difference:.2g}")


class _Tail(nn.Module):
    """What follows the layers, as one module."""

    def __init__(self, parts: SegmentedModel, what: str) -> None:
        super().__init__()
        self.what, self.finish = what, parts.finish
        self.norms = nn.ModuleList(parts._tail if what != "unembed" else [])
        self.head = parts.lm_head if what != "normed" else None
        found = _weights(self)
        self.names, self.weights = list(found), list(found.values())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for norm in self.norms:
            hidden = norm(hidden)
        return hidden if self.head is None else self.finish(self.head(hidden)).float()

    def call(self, hidden: Any, *weights: Any) -> tuple[Any]:
        """With other tensors for its weights."""
        return (functional_call(self, dict(zip(self.names, weights, strict=True)), (hidden,)),)


def _weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name."""
    return {
        name: tensor.detach()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


def _traced(
    call: Callable[..., Any], inputs: Sequence[torch.Tensor], symbols: dict[int, dict[int, int]]
) -> tuple[Any, list[Any]]:
    """The graph of a call and the fake inputs it was traced with. symbols: by input and axis, the sizes that may be any, and the example's.

    Raises ValueError where the graph is for the example's sizes alone.
    """
    from torch._dispatch.python import enable_python_dispatcher
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import (
        DimDynamic,
        ShapeEnv,
        StatelessSymbolicContext,
        is_concrete_int,
    )

    mode = FakeTensorMode(shape_env=ShapeEnv(duck_shape=False))
    examples = []
    with torch.inference_mode(mode=False), torch.no_grad():
        for at, tensor in enumerate(inputs):
            free = symbols.get(at, {})
            size = [free.get(axis, n) for axis, n in enumerate(tensor.shape)]
            meta = (
                torch.empty(size, dtype=tensor.dtype, device="meta")
                if free or tensor.is_contiguous()
                else None
            )
            if meta is None:
                meta = torch.empty_strided(
                    tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta"
                )
            dynamic = [
                DimDynamic.DYNAMIC if axis in free else DimDynamic.STATIC
                for axis in range(tensor.ndim)
            ]
            fake = mode.from_tensor(
                meta, symbolic_context=StatelessSymbolicContext(dynamic_sizes=dynamic)
            )
            with mode:
                examples.append(
                    torch.empty_strided(
                        fake.shape, fake.stride(), dtype=tensor.dtype, device=tensor.device
                    )
                )
        with (
            mode,
            enable_python_dispatcher(),
        ):  # else torch 2.11 takes the example's bucket for the bucket in products
            graph = make_fx(
                functionalize(call, remove="mutations"),
                decomposition_table=_decompositions(inputs[0].device),
                tracing_mode="real",
            )(*examples)
    if any(
        is_concrete_int(examples[at].shape[axis]) for at, free in symbols.items() for axis in free
    ):
        raise ValueError("its trace is for one length alone")
    return graph, examples


def _decompositions(device: torch.device) -> dict[Any, Any]:
    """Inductor's; on a CPU also products of few rows, whose libraries read weights at half the memory's speed or less (decision 0017)."""
    from torch._inductor.decomposition import select_decomp_table

    table = dict(select_decomp_table())
    if device.type == "cpu":
        table[torch.ops.aten.mm.default] = _mm
        table[torch.ops.aten.addmm.default] = _addmm
    return table


def _mm(rows: torch.Tensor, matrix: torch.Tensor) -> Any:
    """Up to eight rows: sums over each row of the weight, which inductor vectorises and fuses, so that the weight is read once for all. Else as it is."""
    if rows.shape[0] > SIZES[-1] or matrix.stride(0) != 1 or matrix.shape[0] == 1:
        return NotImplemented
    weight, exact = matrix.t(), torch.float32 if rows.dtype in _HALF else rows.dtype
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
) -> Any:
    """A product with a bias, where the product is one of `_mm`."""
    product = _mm(rows, matrix) if alpha == beta == 1 else NotImplemented
    return product if product is NotImplemented else product + bias


def _compiled(graph: Any, examples: Sequence[Any]) -> Compiled:
    """By inductor, without the layers around it that a training framework needs: no guards, no autograd."""
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._subclasses.fake_tensor import unset_fake_temporarily

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


def _text(graph: Any) -> str:
    """What a trace computes, and on which shapes."""
    shapes = [
        (str(value.dtype), [str(n) for n in value.shape], [str(n) for n in value.stride()])
        for value in (node.meta["val"] for node in graph.graph.nodes if node.op == "placeholder")
    ]
    return f"{graph.code}\n{shapes}"


def reason_of(error: Exception) -> str:
    """One line of a length that can be read."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 240 else f"{text[:240]} ..."

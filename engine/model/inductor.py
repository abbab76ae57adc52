"""Layers and heads compiled by inductor, once for each kind of layer and number of rows.

A layer is traced as it is (``make_fx`` on fake tensors: no guards, no graph breaks), with its
weights as inputs. Layers whose traces are the same share one compiled function, so what is compiled
does not grow with the depth of the model. The bucket and the buffers' length are symbols: one
function serves all lengths. What cannot be traced (experts chosen by token) or compiled (no
compiler) stays as it is, with a message. Every compiled function is compared with the layer it came
from when it is first used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from adadecode.engine.model.few_rows import is_ours
from adadecode.engine.model.product_race import TIMED_ROWS, sums_are_sooner
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.model.shadow import deep_shadow
from adadecode.engine.model.static_pass import LayerArguments, StaticPass
from adadecode.engine.model.static_shapes import StaticModel, attend_static
from adadecode.engine.model.tracing import (
    Compiled,
    compile_trace,
    trace,
    trace_text,
    tracing_alone,
    weights_by_name,
)

TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3}
"""Largest difference from the layer itself, as a part of its largest value.

Norms compute in FP32 even in an FP64 model. 16-bit formats have 5e-2.
"""

# Sizes of the example that is traced, unlike any size of a model and each other.
_SLOTS, _BUCKET = 331, 192


def why_uncompilable(device: torch.device) -> str | None:
    """Return why nothing can be compiled for this device; None where it can."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "no Triton for this GPU"
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:  # noqa: BLE001 -- torch raises various errors here
        return (
            f"no C++ compiler was found ({type(error).__name__}): install g++, or name one in the "
            "environment variable CXX"
        )
    return None


class Compiler:
    """Compiles one model's layers and heads as they are first needed.

    Attributes:
        seconds: Time spent on it.
        variants: How many functions were made.

    Args:
        parts: The model.
        fall_back: Called with a sentence where something is not compiled.
    """

    def __init__(self, parts: StaticModel, fall_back: Callable[[str], None]) -> None:
        self.parts, self.fall_back = parts, fall_back
        self.seconds = 0.0
        self.variants = 0
        self._weights = [list(weights_by_name(layer).values()) for layer in parts.layers]
        self._kinds: dict[tuple[int, frozenset[str]], str] = {}
        self._made: dict[tuple[str, int, int], Compiled | None] = {}
        self._ready: dict[tuple[int, int, int, frozenset[str]], Compiled | None] = {}
        self._by_sums: dict[tuple[str, int], bool] = {}
        self._tails = {what: _Tail(parts, what) for what in ("normed", "unembed", "logits")}

    # -- layers --------------------

    def layer(
        self, index: int, hidden: torch.Tensor, step: StaticPass, arguments: LayerArguments
    ) -> torch.Tensor | None:
        """Return the output of one compiled layer on hidden states ``(1, N, d)``, or None."""
        key = (index, hidden.shape[1], torch.get_num_threads(), self.parts.kv.unheeded)
        try:
            made = self._ready[key]
        except KeyError:
            with tracing_alone():
                made = self._ready[key] = self._layer(index, hidden, step, arguments)
        if made is None:
            return None
        return made(self._inputs(index, hidden, step, arguments))[0]

    def _inputs(
        self, index: int, hidden: torch.Tensor, step: StaticPass, arguments: LayerArguments
    ) -> list[Any]:
        """Return what the compiled function of a layer takes."""
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
        self, index: int, hidden: torch.Tensor, step: StaticPass, arguments: LayerArguments
    ) -> Compiled | None:
        """Return the function of a layer's kind for this many rows, made if need be."""
        begun = time.perf_counter()
        try:
            rows, threads = hidden.shape[1], torch.get_num_threads()
            attended = (index, self.parts.kv.unheeded)
            if attended not in self._kinds:
                one = self.parts.step_at(step.slots[:1], step.bucket)
                self._kinds[attended] = trace_text(
                    self._trace_layer(index, hidden[:, :1], one, arguments)[0]
                )
            key = (self._kinds[attended], rows, threads)
            if key not in self._made:
                self._made[key] = None
                way = self._kinds[attended], threads
                if way not in self._by_sums:
                    self._by_sums[way] = self._sums_are_sooner(index, hidden, step, arguments)
                made = self._compile_layer(
                    index, hidden, step, arguments, by_sums=self._by_sums[way]
                )
                expected = self.parts.call_layer(
                    index, hidden, step, *arguments.call(index, step.leaves)
                )
                self._hold(
                    made(self._inputs(index, hidden, step, arguments))[0], expected, hidden.dtype
                )
                self._made[key] = made
            return self._made[key]
        except Exception as error:  # noqa: BLE001 -- whatever it is, it becomes a fallback
            self.fall_back(
                f"a layer of {self.parts.name} was not compiled and runs as it is: "
                f"{reason_of(error)}"
            )
            return None
        finally:
            self.seconds += time.perf_counter() - begun

    def _compile_layer(
        self,
        index: int,
        hidden: torch.Tensor,
        step: StaticPass,
        arguments: LayerArguments,
        *,
        by_sums: bool,
    ) -> Compiled:
        made = compile_trace(*self._trace_layer(index, hidden, step, arguments, by_sums=by_sums))
        self.variants += 1
        return made

    def _sums_are_sooner(
        self, index: int, hidden: torch.Tensor, step: StaticPass, arguments: LayerArguments
    ) -> bool:
        """Measure whether layers like this one are sooner by sums than by our product.

        This layer and those above it are run, at this pass's first position and those behind it.
        What they write there is written again before it is read: none of them has been there yet.
        """
        if not any(is_ours(weight) for weight in self._weights[index] if weight.is_cpu):
            return False
        passes, alike = {}, self._alike(index, arguments)
        for rows in TIMED_ROWS:
            slots = step.slots[:1] + torch.arange(rows, device=step.slots.device)
            there = self.parts.step_at(slots, step.bucket)
            given = hidden[:, :1].expand(-1, rows, -1).contiguous()
            passes[rows] = {
                by_sums: partial(
                    self._run_alike,
                    self._compile_layer(index, given, there, arguments, by_sums=by_sums),
                    [partial(self._inputs, layer, given, there, arguments) for layer in alike],
                )
                for by_sums in (False, True)
            }
        return sums_are_sooner(passes)

    def _alike(self, index: int, arguments: LayerArguments) -> list[int]:
        """Return this layer and those above it that take inputs of the same shapes."""

        def of(layer: int) -> tuple[Any, ...]:
            shapes = [weight.shape for weight in self._weights[layer]]
            return shapes, self.parts.windows.get(layer), len(arguments.used(layer))

        return [layer for layer in range(index, self.parts.n_layers) if of(layer) == of(index)]

    @staticmethod
    def _run_alike(made: Compiled, inputs: Sequence[Callable[[], list[Any]]]) -> None:
        """Run one compiled function with the inputs of several layers, which it empties."""
        for of_layer in inputs:
            made(of_layer())

    def _trace_layer(
        self,
        index: int,
        hidden: torch.Tensor,
        step: StaticPass,
        arguments: LayerArguments,
        *,
        by_sums: bool = False,
    ) -> tuple[Any, list[Any]]:
        """Return the trace of a layer and the inputs it was traced with."""
        # a trace puts other tensors in the place of weights
        layer, numbers = deep_shadow(self.parts.layers[index]), arguments.used(index)
        window = self.parts.windows.get(index) or None
        names = list(weights_by_name(layer))
        inputs = self._inputs(index, hidden, step, arguments)

        def call(
            hidden: Any, slots: Any, mask: Any, keys: Any, values: Any, *rest: Any
        ) -> tuple[Any]:
            given = dict(zip(numbers, rest, strict=False))
            args, kwargs = arguments.call(index, given)
            now = StaticPass(
                slots=slots,
                masks={window: mask},
                leaves=(),
                keys={index: keys},
                values={index: values},
            )
            with self.parts.attending(partial(attend_static, self.parts.kv, now), 1):
                out = functional_call(
                    layer,
                    dict(zip(names, rest[len(numbers) :], strict=True)),
                    (hidden, *args),
                    kwargs,
                )
            return (out[0] if isinstance(out, tuple) else out,)

        symbols = {2: {1: _BUCKET}, 3: {2: _SLOTS}, 4: {2: _SLOTS}}
        return trace(call, inputs, symbols, by_sums=by_sums)

    @property
    def has_sums(self) -> bool:
        """Whether layers multiply few rows by sums, and what follows them does so too."""
        ways = [
            by for (_, threads), by in self._by_sums.items() if threads == torch.get_num_threads()
        ]
        return bool(ways) and all(ways)

    # -- after the layers --------------------

    def tail(self, what: str, given: torch.Tensor) -> torch.Tensor | None:
        """Return compiled ``normed``, ``unembed`` or ``logits`` of ``(1, N, d)``, or None."""
        key = (what, given.shape[1], torch.get_num_threads())
        tail = self._tails[what]
        if key not in self._made:
            begun = time.perf_counter()
            self._made[key] = None
            try:
                with tracing_alone():
                    made = compile_trace(
                        *trace(tail.call, [given, *tail.weights], symbols={}, by_sums=self.has_sums)
                    )
                self.variants += 1
                self._hold(made([given, *tail.weights])[0], tail(given), given.dtype)
                self._made[key] = made
            except Exception as error:  # noqa: BLE001 -- as above
                self.fall_back(
                    f"the {what} of {self.parts.name} were not compiled and run as they are: "
                    f"{reason_of(error)}"
                )
            finally:
                self.seconds += time.perf_counter() - begun
        found = self._made[key]
        return None if found is None else found([given, *tail.weights])[0]

    @staticmethod
    def _hold(got: torch.Tensor, expected: torch.Tensor, computed: torch.dtype) -> None:
        """Raise ValueError where a compiled function differs from what it was made of.

        Args:
            got: What the compiled function returned.
            expected: What it should have returned.
            computed: The dtype that it computes in.
        """
        difference = float((got.double() - expected.double()).abs().max())
        allowed = TOLERANCE.get(computed, 5e-2) * max(1.0, float(expected.abs().max()))
        if got.shape != expected.shape or not difference <= allowed:
            raise ValueError(f"compiled, it differs from itself by {difference:.2g}")


class _Tail(nn.Module):
    """What follows the layers, as one module."""

    def __init__(self, parts: SegmentedModel, what: str) -> None:
        super().__init__()
        self.what, self.finish = what, parts.finish
        self.norms = nn.ModuleList(parts.tail_modules if what != "unembed" else [])
        self.head = parts.lm_head if what != "normed" else None
        found = weights_by_name(self)
        self.names, self.weights = list(found), list(found.values())

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for norm in self.norms:
            hidden = norm(hidden)
        return hidden if self.head is None else self.finish(self.head(hidden)).float()

    def call(self, hidden: Any, *weights: Any) -> tuple[Any]:
        """Apply the module with other tensors for its weights."""
        given = dict(zip(self.names, weights, strict=True))
        return (functional_call(deep_shadow(self), given, (hidden,)),)


def reason_of(error: Exception) -> str:
    """Return an error in one line of a readable length."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 240 else f"{text[:240]} ..."

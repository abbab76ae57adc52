"""Our product of few rows as an operator of torch, which traces hold and inductor calls.

Inductor is told to call the product itself, with room for what it returns: an operator that is
written in Python would be called through torch's dispatcher, which takes longer than a small
product.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from adadecode.engine.model.few_rows import multiply_into

_NAME = "adadecode_few_rows"
_library = torch.library.Library("adadecode", "DEF")
_library.define("few_rows(Tensor given, Tensor weight) -> Tensor")


def _multiplied(given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    out = given.new_empty((given.shape[0], weight.shape[0]))
    multiply_into(given, weight, None, out)
    return out


def _described(given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return given.new_empty((given.shape[0], weight.shape[0]))


_library.impl("few_rows", _multiplied, "CPU")
_library.impl("few_rows", _described, "Meta")


def few_rows_of(given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the product of rows ``(b, d)`` and a matrix ``(n, d)``, as one operator of a trace."""
    found: torch.Tensor = torch.ops.adadecode.few_rows.default(given, weight)
    return found


def _called(given: torch.Tensor, weight: torch.Tensor, *, out: torch.Tensor) -> None:
    multiply_into(given, weight, None, out)


@cache
def teach_inductor() -> None:
    """Tell inductor how to call the product."""
    from torch._inductor import ir
    from torch._inductor.lowering import register_lowering
    from torch._inductor.select_algorithm import extern_kernels

    setattr(extern_kernels, _NAME, _called)

    @register_lowering(torch.ops.adadecode.few_rows.default, type_promotion_kind=None)
    def lower(given: Any, weight: Any) -> Any:
        rows, of = given.get_size()[0], weight.get_size()[0]
        layout = ir.FixedLayout(given.get_device(), given.get_dtype(), [rows, of], [of, 1])
        inputs = [
            ir.ExternKernel.require_contiguous(ir.ExternKernel.realize_input(one))
            for one in (given, weight)
        ]
        return ir.TensorBox.create(
            ir.ExternKernelOut(
                layout=layout,
                inputs=inputs,
                python_kernel_name=f"extern_kernels.{_NAME}",
                op_overload=torch.ops.adadecode.few_rows.default,
            )
        )

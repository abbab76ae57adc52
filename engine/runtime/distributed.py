"""What a model spread over processes or devices needs: whole tensors, and one process that writes.

Tensor parallelism is that of ``transformers`` (a ``tp_plan``, under ``torchrun``): every process
runs the same decoder, sees the same whole logits, and so takes the same decisions. What lies
outside the model, such as files or a clock, only the first process looks at, and gives the others
what it finds.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.tensor import DTensor
from transformers.utils import logging

from adadecode.engine.runtime.torchrun import launched
from adadecode.profiles.errors import InputError

T = TypeVar("T")

LAUNCH = "torchrun --nproc-per-node N --no-python adadecode-profile ..."
"""How a recording by N processes is started."""


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor itself, or all of one that is sharded over processes.

    All processes must call this for a sharded tensor.

    Raises:
        InputError: The tensor is offloaded.
    """
    if tensor.is_meta:
        raise InputError(
            "some of the model's weights are not in memory but offloaded: load the model whole, "
            "onto devices that hold it"
        )
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def unpacked(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the whole tensor, or the plain ones that a packed one is made of."""
    found = whole(tensor)
    flatten = getattr(
        found, "__tensor_flatten__", None
    )  # of torch's protocol for subclasses that wrap other tensors
    if flatten is None:
        return [found]
    names, _ = flatten()
    return [part for name in names for part in unpacked(getattr(found, name))]


def is_sharded(tensor: torch.Tensor) -> bool:
    """Return whether each process holds a part of the tensor."""
    return isinstance(tensor, DTensor) or isinstance(tensor.data, DTensor)


def processes() -> int:
    """Return how many processes share the model: 1 where there is no process group."""
    return (
        distributed.get_world_size()
        if distributed.is_available() and distributed.is_initialized()
        else 1
    )


def is_first() -> bool:
    """Return whether this process is the one that writes and prints; alone it is."""
    return processes() == 1 or distributed.get_rank() == 0


def command(program: str) -> str:
    """Return the command that starts ``program`` with the number of processes there are now."""
    here = os.environ.get("LOCAL_WORLD_SIZE", str(processes()))  # of one machine
    return (
        program if processes() == 1 else f"torchrun --nproc-per-node {here} --no-python {program}"
    )


def join(device: str) -> None:
    """Meet the other processes that ``torchrun`` started; without it this does nothing.

    All but the first process are silent from then on.

    Args:
        device: The device that the user named.

    Raises:
        InputError: The processes cannot share a model here.
    """
    if launched() == 1 or processes() > 1:
        return
    if not distributed.is_available():
        raise InputError(
            f"torchrun started {launched()} processes, and this torch cannot have them share a "
            "model: record with one"
        )
    gpu = torch.cuda.is_available()
    if gpu and device == "cpu":
        raise InputError(
            "processes that share a model use the GPUs where there are any: leave --device out, or "
            "hide them with CUDA_VISIBLE_DEVICES=''"
        )
    if gpu:
        own = int(os.environ.get("LOCAL_RANK", "0"))
        if own >= torch.cuda.device_count():
            raise InputError(
                f"torchrun started more processes than the {torch.cuda.device_count()} GPUs here: "
                "lower --nproc-per-node"
            )
        torch.cuda.set_device(own)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    if not is_first():
        warnings.simplefilter("ignore")
        logging.disable_progress_bar()


def leave() -> None:
    """Part from the other processes."""
    if processes() > 1:
        distributed.destroy_process_group()


def decide_together(work: Callable[[], T]) -> T:
    """Return what the first process finds, in all of them. All must call this.

    Where it fails, the first process raises its own error, whatever that is, and the others an
    InputError with the same message, so that nobody is left waiting.
    """
    if processes() == 1:
        return work()
    box: list[Any] = [None, None]
    failed: Exception | None = None
    if is_first():
        try:
            box[0] = work()
        except Exception as error:  # noqa: BLE001 -- all processes must hear of it
            failed = error
            box[1] = (
                str(error)
                if isinstance(error, InputError)
                else f"the first process failed: {type(error).__name__}: {error}"
            )
    distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    if failed is not None:
        raise failed
    if box[1] is not None:
        raise InputError(box[1])
    found: T = box[0]
    return found

"""Whether a model fits into free memory, found out before anything of it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.initialization import no_init_weights

from adadecode.engine.loading.model_config import read_config
from adadecode.engine.loading.quantization import format_of, unpacked_on
from adadecode.engine.runtime.distributed import processes
from adadecode.engine.runtime.free_memory import free_bytes
from adadecode.profiles.errors import InputError
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.hardware.memory import GIB, RESERVE, WEIGHT_BYTES

CPU = torch.device("cpu")


def require_memory(
    what: str,
    parts: Mapping[str, float],
    free: int | None,
    where: str,
    ways: Callable[[], Sequence[str]],
) -> None:
    """Refuse what takes more memory than is free.

    Args:
        what: What takes it, for the message.
        parts: Bytes by part.
        free: Bytes that are free; None where unknown.
        where: Where they are free, for the message.
        ways: Returns settings that would fit, the best first.

    Raises:
        InputError: With what it takes, what there is, and what would fit.
    """
    total = sum(parts.values())
    if free is None or total <= free:
        return
    by_part = ", ".join(f"{name} {value / GIB:.2f}" for name, value in parts.items() if value)
    raise InputError(
        f"{what} takes {total / GIB:.2f} GiB ({by_part}), {free / GIB:.2f} are free on {where}: "
        f"take {' or '.join(ways()) or 'a machine with more memory'}"
    )


@dataclass(frozen=True, kw_only=True)
class HeadsToLoad:
    """Exit heads that are to be loaded.

    Attributes:
        matrices: How many have a matrix of their own.
        form: The form that they will have.
    """

    matrices: int = 0
    form: HeadForm = FULL

    def nbytes(
        self, width: int, vocabulary: int, dtype: torch.dtype, device: torch.device
    ) -> float:
        """Return the bytes that they take on the device.

        Args:
            width: The width of the model's hidden states.
            vocabulary: How many tokens it has.
            dtype: Its dtype.
            device: The device.
        """
        each = 1 if self.form.dtype else dtype.itemsize
        read = (
            4 if device.type == "cpu" and (self.form.dtype or dtype != torch.float32) else 0
        )  # matrices are kept as they were read, in FP32
        rows = 0 if self.form.is_full else (self.form.shortlist or vocabulary) * width * each
        return self.matrices * width**2 * (each + read) + rows


NO_HEADS = HeadsToLoad()
"""No heads, or heads that are the identity."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model that is to be loaded, known from its config alone.

    Attributes:
        name: Its name.
        matrices: Numbers in its matrices.
        rest: Numbers in all else, with embeddings and LM head.
        per_position: Numbers of keys and values a position.
        dtype: Its dtype.
        weights: What the matrices are packed as; None where they are not.
        positions: Positions that must fit.
        device: Where it is to run.
        spread: How many GPUs it is spread over.
        width: The width of what the LM head takes.
        vocabulary: The width of what it gives.
        exits: Its heads, whole on each device.
    """

    name: str
    matrices: int
    rest: int
    per_position: int
    dtype: torch.dtype
    weights: str | None
    positions: int
    device: torch.device
    spread: int = 1
    width: int = 0
    vocabulary: int = 0
    exits: HeadsToLoad = NO_HEADS

    @property
    def parts(self) -> dict[str, float]:
        """Bytes on the device, by part."""
        wide = self.dtype.itemsize
        narrow = min(wide, WEIGHT_BYTES[self.weights]) if self.weights else wide
        return {
            "weights": (self.matrices * narrow + self.rest * wide) / self.spread,
            "keys and values": self.positions * self.per_position * wide / self.spread,
            "exit heads": self.exits.nbytes(self.width, self.vocabulary, self.dtype, self.device),
            "reserve": RESERVE if self.device.type == "cuda" else 0,
        }

    @property
    def total(self) -> float:
        """All bytes that the model takes on the device."""
        return sum(self.parts.values())

    def ways(self, free: int) -> Iterator[str]:
        """Yield settings with which it would fit into ``free`` bytes of its device."""
        dtypes = [self.dtype, *([torch.bfloat16] if self.dtype.itemsize > 2 else [])]
        packings = [
            self.weights,
            *(
                []
                if self.weights or processes() > 1
                else ["int8", "int4"]
                if self.device.type == "cuda"
                else ["int8"]
            ),
        ]
        fitting = [
            [
                *([] if dtype == self.dtype else ["--dtype bfloat16"]),
                *([] if weights == self.weights else [f"--weights {weights}"]),
            ]
            for weights, dtype in product(packings, dtypes)
            if replace(self, dtype=dtype, weights=weights).total <= free
        ]
        yield from (
            " ".join(way)
            for way in sorted(fitting, key=len)
            if len(way) == len(min(fitting, key=len))
        )
        room = free - (self.total - self.parts["keys and values"])
        most = (
            int(room * self.positions / self.parts["keys and values"])
            if self.parts["keys and values"]
            else 0
        )
        if most > 1:
            yield f"shorter prompts and fewer --max-new-tokens, {most} positions together,"
        host = free_bytes(CPU)
        if self.device.type == "cuda" and self.spread == 1:
            if host is not None and replace(self, device=CPU).total <= host:
                yield "--device cpu"
            if (gpus := torch.cuda.device_count()) > 1 and replace(self, spread=gpus).total <= free:
                yield "--device-map auto"


def check_checkpoint(
    name: str | Path,
    dtype: torch.dtype | str,
    weights: str | None,
    device: torch.device,
    *,
    positions: int = 0,
    spread: bool = False,
    exits: HeadsToLoad = NO_HEADS,
    trust_remote_code: bool = False,
) -> None:
    """Refuse a model that would not fit, before anything of it is read but its config.

    A config that says too little passes: loading will say what is wrong.

    Args:
        name: Name or folder of the model.
        dtype: The dtype as ``from_pretrained`` takes it.
        weights: What matrices are packed as, one of
            `adadecode.engine.loading.quantization.WEIGHTS`.
        device: Where it is to run.
        positions: Positions whose keys and values must fit.
        spread: Whether it is spread over all GPUs by a device map. A model that several processes
            share is spread over them in any case.
        exits: Heads that it is to have.
        trust_remote_code: As of ``from_pretrained``.

    Raises:
        InputError: The model would not fit.
    """
    spread_gpus = torch.cuda.device_count() if spread and device.type == "cuda" else 1
    shares = spread_gpus if spread else processes() if device.type == "cuda" else 1
    try:
        config = read_config(name, trust_remote_code=trust_remote_code)
        sizes = _model_sizes(config, trust_remote_code=trust_remote_code)
    except Exception:  # noqa: BLE001 -- whatever is wrong, loading will say it
        return
    packed = weights or format_of(config)
    if weights is None and unpacked_on(packed, device):
        packed = None
    if packed is not None and packed not in WEIGHT_BYTES:
        return  # how many bytes these take, nobody here knows
    checkpoint = Checkpoint(
        name=str(name),
        dtype=_dtype_of(config, dtype),
        weights=packed,
        positions=positions,
        device=device,
        spread=shares,
        exits=exits,
        **sizes,
    )
    free = _least_free(spread_gpus) if spread_gpus > 1 else free_bytes(device)
    what = (
        f"{name} in {str(checkpoint.dtype).removeprefix('torch.')}"
        f"{f' with {packed} weights' if packed else ''}"
    )
    where = str(device) if shares == 1 else f"each of {shares} GPUs"
    require_memory(what, checkpoint.parts, free, where, lambda: list(checkpoint.ways(free or 0)))
    if device.type == "cuda" and shares == 1 and weights is None:
        # all weights come to the device through the host's memory
        passing = replace(checkpoint, device=CPU, positions=0, exits=NO_HEADS)
        require_memory(
            f"{what}, on its way to {device},",
            passing.parts,
            free_bytes(CPU),
            "the host",
            lambda: ["--device-map auto, which loads onto the GPU"],
        )


def _dtype_of(config: Any, wanted: torch.dtype | str) -> torch.dtype:
    """Return the dtype that a model is loaded in: the wanted one, or for ``auto`` its own."""
    if isinstance(wanted, torch.dtype):
        return wanted
    own = getattr(config.get_text_config(), "dtype", None) or getattr(config, "dtype", None)
    return own if isinstance(own, torch.dtype) else torch.float32


def _least_free(gpus: int) -> int | None:
    """Return the free bytes of the GPU that has the fewest; None where unknown."""
    free = [free_bytes(torch.device("cuda", index)) for index in range(gpus)]
    return min((each for each in free if each is not None), default=None)


def _model_sizes(config: Any, *, trust_remote_code: bool) -> dict[str, int]:
    """Return the sizes in `Checkpoint` of a model, which is built without memory."""
    with torch.device("meta"), no_init_weights():
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    apart = {
        id(part.weight)
        for part in (model.get_input_embeddings(), model.get_output_embeddings())
        if part is not None
    }
    sizes = [
        (weight.numel(), weight.ndim > 1 and id(weight) not in apart)
        for weight in model.parameters()
    ]
    text = config.get_text_config()
    vocabulary, reads = (int(size) for size in model.get_output_embeddings().weight.shape)
    heads = int(getattr(text, "num_key_value_heads", None) or text.num_attention_heads)
    width = int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    return {
        "matrices": sum(size for size, is_matrix in sizes if is_matrix),
        "rest": sum(size for size, is_matrix in sizes if not is_matrix),
        "per_position": 2 * int(text.num_hidden_layers) * heads * width,
        "width": reads,
        "vocabulary": vocabulary,
    }

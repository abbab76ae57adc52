"""Whether a model fits into the memory that is free, decided before anything of it is made, and what would fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.initialization import no_init_weights

from adadecode.engine.loading.quantization import format_of
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
    """Refuse what takes more than is free, None where nothing tells. parts: bytes, by name. ways: settings that would fit, the best first.

    Raises InputError with what it takes, what there is, and what would fit.
    """
    total = sum(parts.values())
    if free is None or total <= free:
        return
    told = ", ".join(f"{name} {value / GIB:.2f}" for name, value in parts.items() if value)
    raise InputError(
        f"{what} takes {total / GIB:.2f} GiB ({told}), {free / GIB:.2f} are free on {where}: "
        f"take {' or '.join(ways()) or 'a machine with more memory'}"
    )


@dataclass(frozen=True, kw_only=True)
class HeadsToLoad:
    """Exit heads that are to be loaded. matrices: how many have a matrix of their own. form: that they will have."""

    matrices: int = 0
    form: HeadForm = FULL

    def nbytes(
        self, width: int, vocabulary: int, dtype: torch.dtype, device: torch.device
    ) -> float:
        """On the device, of a model with hidden states and tokens so many. dtype: the model's."""
        each = 1 if self.form.dtype else dtype.itemsize
        read = (
            4 if device.type == "cpu" and (self.form.dtype or dtype != torch.float32) else 0
        )  # matrices are kept as they were read, in FP32
        rows = 0 if self.form.is_full else (self.form.shortlist or vocabulary) * width * each
        return self.matrices * width**2 * (each + read) + rows


NO_HEADS = HeadsToLoad()
"""Of the identity, or none."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model that is to be loaded, from its config alone.

    matrices, rest: numbers in its matrices, and in all else with embeddings and LM head. per_position: numbers of keys and values. wide: bytes of a number.
    weights: what the matrices are packed as, None where they are not. positions: that must fit. device: where it is to run. spread: over
    so many GPUs. width, vocabulary: of what the LM head takes and gives. exits: its heads, whole on each device.
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
        """Bytes."""
        return sum(self.parts.values())

    def ways(self, free: int) -> Iterator[str]:
        """Settings with which it would fit into ``free`` bytes of its device."""
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

    dtype: as ``from_pretrained`` takes it. weights: `adadecode.engine.loading.quantization.WEIGHTS`. positions: whose keys and values must fit. spread: over all GPUs by a device map; a
    model that several processes share is spread over them in any case. exits: heads that it is to have.
    A config that tells too little is let pass: loading says what is wrong. Raises InputError.
    """
    gpus = torch.cuda.device_count() if device.type == "cuda" else 1
    shares = gpus if spread else processes() if device.type == "cuda" else 1
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust_remote_code)
        found = _measured(config, trust_remote_code=trust_remote_code)
    except Exception:
        return
    own = getattr(config.get_text_config(), "dtype", None) or getattr(config, "dtype", None)
    packed = weights or format_of(config)
    if packed is not None and packed not in WEIGHT_BYTES:
        return  # how many bytes these take, nobody here knows
    asked = Checkpoint(
        name=str(name),
        dtype=dtype
        if isinstance(dtype, torch.dtype)
        else own
        if isinstance(own, torch.dtype)
        else torch.float32,
        weights=packed,
        positions=positions,
        device=device,
        spread=shares,
        exits=exits,
        **found,
    )
    free = (
        min(
            (
                there
                for one in range(gpus)
                if (there := free_bytes(torch.device("cuda", one))) is not None
            ),
            default=None,
        )
        if spread and gpus > 1
        else free_bytes(device)
    )
    said = f"{name} in {str(asked.dtype).removeprefix('torch.')}{f' with {packed} weights' if packed else ''}"
    where = str(device) if shares == 1 else f"each of {shares} GPUs"
    require_memory(said, asked.parts, free, where, lambda: list(asked.ways(free or 0)))
    if (
        device.type == "cuda" and shares == 1 and weights is None
    ):  # weights come to the device through the host's memory, all of them
        host = free_bytes(CPU)
        passing = replace(asked, device=CPU, positions=0, exits=NO_HEADS)
        require_memory(
            f"{said}, on its way to {device},",
            passing.parts,
            host,
            "the host",
            lambda: ["--device-map auto, which loads onto the GPU"],
        )


def _measured(config: Any, *, trust_remote_code: bool) -> dict[str, int]:
    """What a config says of the numbers in its model (see `Checkpoint`), by building it without memory."""
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

"""The most memory that a model with exit heads takes while it decodes, and whether a device has it.

Where it does not fit, the result holds what would make it fit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DesignError, DeviceError, ShapeError
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.core.head_form import FULL, HeadForm

GIB = 2**30

WEIGHT_BYTES = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5 + (16 + 4) / 8 / 128,
}
"""Bytes of one weight, widest first.

``int4`` has a 16-bit scale and a 4-bit zero for each group of 128, as GPTQ and AWQ store it.
"""

STATE_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0}
"""Bytes of one number of the cache or of a head."""

RESERVE = 2**30
"""Bytes outside all tensors: an assumption, which the user may set.

A CUDA context with lazily loaded kernels takes some 300 MB, before CUDA 11.7 more than 1000
(https://github.com/pytorch/pytorch/issues/107667). Workspaces of the matmul library and the
allocator's gaps come on top.
"""

VISIBLE = 0.965
"""Share of the marketed capacity that a program can use: the lowest of these reports.

5.79 of 6 GiB (https://github.com/facebookresearch/meshrcnn/issues/92), 7.76 of 8
(https://github.com/sshan-zhao/GASDA/issues/19), 11.76 of 12
(https://github.com/TencentARC/PhotoMaker/issues/47), 39.5 of 40.
"""

VISIBLE_ECC = 0.91
"""The same share where ECC takes a sixteenth of GDDR memory: the lower of two reports.

14.56 of 16 GiB on a T4 (https://github.com/Zheng-Chong/CatVTON/issues/133), 44.53 of 48 on an L40S
(https://github.com/Wan-Video/Wan2.1/issues/205).
"""

ECC_GDDR = ("a40", "a10g", "l4", "l40s", "t4")
"""Devices of the catalogue that ship with ECC on GDDR memory.

https://thundergolfer.com/blog/nvidia-gpu-memory-capacity lists most of them.
"""

MOST_POSITIONS = 2**24
"""Where the search for the longest context ends, for a model without a limit of its own.

It is far beyond any cache that is held today.
"""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model as it is to be run.

    Attributes:
        shape: The model.
        dtype: Format of the layers' matrices, of ``WEIGHT_BYTES``. Embeddings, LM head and norms
            keep 16 bits where it is narrower, as quantised checkpoints do.
        heads: Depths of the exit heads.
        context: Positions of a sequence, prompt and output.
        prompt: How many of these are filled at once; all of them where None, which is the most.
        sequences: Sequences decoded together. Their prompts are filled one after the other.
        n_tokens: Largest batch of one sequence in decoding.
        head_dtype: Format of the heads' own matrices, of ``STATE_BYTES``; as wide as the
            activations where None.
        cache_dtype: Format of keys and values, likewise.
        form: Form of the heads. Unless it is the full one they hold, all together, rows of the LM
            head of their own, because the model's are still there for verification.
        reserve: Bytes outside all tensors.

    Raises:
        DeviceError: If a format is unknown.
        DesignError: If the model has no place for a head.
        ShapeError: If a length is impossible.
    """

    shape: ModelShape
    dtype: str = "bf16"
    heads: tuple[int, ...] = ()
    context: int = 2048
    prompt: int | None = None
    sequences: int = 1
    n_tokens: int = DEFAULT_CAP + 1
    head_dtype: str | None = None
    cache_dtype: str | None = None
    form: HeadForm = FULL
    reserve: int = RESERVE

    def __post_init__(self) -> None:
        for what, dtype, known in (
            ("weights", self.dtype, WEIGHT_BYTES),
            ("heads", self.head_dtype, STATE_BYTES),
            ("cache", self.cache_dtype, STATE_BYTES),
        ):
            if dtype is not None and dtype not in known:
                raise DeviceError(
                    f"no dtype {dtype!r} for the {what}: wanted one of {', '.join(known)}"
                )
        _check_heads(self.shape, self.heads)
        self.form.check_shape(self.shape)
        for what, value, least in (
            ("context", self.context, 1),
            ("prompt", self.prompt, 1),
            ("sequences", self.sequences, 1),
            ("n_tokens", self.n_tokens, 1),
            ("reserve", self.reserve, 0),
        ):
            if value is not None and value < least:
                raise ShapeError(f"{what} is {value}: wanted {least} or more")
        most = self.shape.max_positions
        if most is not None and self.context > most:
            raise ShapeError(
                f"{self.shape.name} has {most} positions, got a context of {self.context}: "
                f"choose {most} or fewer"
            )
        if self.prompt is not None and self.prompt > self.context:
            raise ShapeError(
                f"a prompt of {self.prompt} tokens in a context of {self.context}: "
                "make the context longer, or the prompt shorter"
            )

    @property
    def activation_bytes(self) -> float:
        """Bytes of one number of a hidden state: as wide as the weights, but at least 16 bits."""
        return max(WEIGHT_BYTES[self.dtype], 2.0)

    @property
    def filled(self) -> int:
        """Positions that are filled at once."""
        return self.context if self.prompt is None else self.prompt


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at the peak, by part; ``reserve`` is what the runtime takes outside all tensors."""

    weights: float
    heads: float
    cache: float
    activations: float
    reserve: float

    @property
    def total(self) -> float:
        """Bytes of all parts together."""
        return self.weights + self.heads + self.cache + self.activations + self.reserve


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Whether a model fits on one device.

    Attributes:
        run: The model as it is to be run.
        device: The device.
        memory: What it takes.
        capacity: Bytes of the device that a program can use.
    """

    run: Deployment
    device: Device
    memory: Memory
    capacity: float

    @property
    def fits(self) -> bool:
        """Whether it fits."""
        return self.memory.total <= self.capacity

    @cached_property
    def longest_context(self) -> int:
        """The most positions with which it fits, up to those of the model; 0 where not one does.

        Found by bisection: every part grows with the context, or stays.
        """
        low, high = 0, self.run.shape.max_positions or MOST_POSITIONS
        while low < high:
            middle = (low + high + 1) // 2
            prompt = None if self.run.prompt is None else min(self.run.prompt, middle)
            if peak_memory(replace(self.run, context=middle, prompt=prompt)).total <= self.capacity:
                low = middle
            else:
                high = middle - 1
        return low

    @cached_property
    def dtype_that_fits(self) -> str | None:
        """The widest narrower format with which it fits.

        None where it fits as it is, or nothing helps. FP8 counts only on a device that computes in
        it, and of the two 16-bit formats the one it has.
        """
        if self.fits:
            return None
        sixteen = "bf16" if "bf16" in self.device.peak_flops else "fp16"
        for dtype in (
            sixteen,
            *(["fp8"] if "fp8" in self.device.peak_flops else []),
            "int8",
            "int4",
        ):
            narrower = WEIGHT_BYTES[dtype] < WEIGHT_BYTES[self.run.dtype]
            if narrower and peak_memory(replace(self.run, dtype=dtype)).total <= self.capacity:
                return dtype
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before acting on the result, a sentence each."""
        run, shape = self.run, self.run.shape
        notes = []
        if run.dtype in ("bf16", "fp16", "fp8") and run.dtype not in self.device.peak_flops:
            notes.append(
                f"the datasheet of {self.device.name} gives no {run.dtype} peak: "
                "it may compute in another dtype, or slowly"
            )
        if shape.sliding_window is not None and run.context > shape.sliding_window + run.n_tokens:
            notes.append(
                f"keys and values are counted up to the window of {shape.sliding_window}: "
                "an engine that keeps all takes more"
            )
        if WEIGHT_BYTES[run.dtype] < run.activation_bytes:
            notes.append(
                f"only the layers' matrices are {run.dtype}: "
                "embeddings, LM head and norms keep 16 bits"
            )
        return tuple(notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the document printed by ``--json``, bytes as whole numbers."""
        run = self.run
        return {
            "model": run.shape.name,
            "device": self.device.name,
            "fits": self.fits,
            "bytes": {name: round(value) for name, value in asdict(self.memory).items()},
            "total_bytes": round(self.memory.total),
            "capacity_bytes": round(self.capacity),
            "free_bytes": round(self.capacity) - round(self.memory.total),
            "longest_context": self.longest_context,
            "dtype": run.dtype,
            "dtype_that_fits": self.dtype_that_fits,
            "heads": list(run.heads),
            "head_form": run.form.label,
            "context": run.context,
            "prompt": run.filled,
            "sequences": run.sequences,
            "notes": list(self.notes),
        }


def peak_memory(run: Deployment) -> Memory:
    """Return the most memory that a run takes at once, by part.

    * ``weights``: every expert of a mixture, a shared embedding once.
    * ``heads``: for each head its own matrix T of (hidden_size, hidden_size); final norm and LM
      head are the model's.
    * ``cache``: keys and values of every position, or of as many as a window and one batch reach.
    * ``activations``: the larger of filling one prompt and decoding, see `activation_peak`.
    """
    shape = run.shape
    wide = run.activation_bytes
    matrices = shape.n_layers * (shape.layer_parameters - shape.norm_parameters)
    weights = matrices * WEIGHT_BYTES[run.dtype] + (shape.total_parameters - matrices) * wide
    narrow = run.form.dtype or run.head_dtype
    heads = len(run.heads) * shape.head_parameters * (STATE_BYTES[narrow] if narrow else wide)
    if run.heads and not run.form.is_full:
        heads += (
            (run.form.shortlist or shape.vocab_size)
            * shape.hidden_size
            * (STATE_BYTES[run.form.dtype] if run.form.dtype else wide)
        )
    held = (
        run.context
        if shape.sliding_window is None
        else min(run.context, shape.sliding_window + run.n_tokens)
    )
    each = (
        2
        * shape.n_kv_heads
        * shape.head_dim
        * (STATE_BYTES[run.cache_dtype] if run.cache_dtype else wide)
    )
    filling = activation_peak(shape, run.filled, logits=1, width=wide)
    decoding = activation_peak(
        shape, run.sequences * run.n_tokens, logits=run.sequences * run.n_tokens, width=wide
    )
    return Memory(
        weights=weights,
        heads=heads,
        cache=shape.n_layers * run.sequences * held * each,
        activations=max(filling, decoding),
        reserve=run.reserve,
    )


def activation_peak(shape: ModelShape, rows: int, *, logits: int, width: float) -> float:
    """Return the bytes of activations alive at once.

    A bound, the largest of four moments. The residual is alive in each of them:

    * in a norm, the state in FP32 and its product;
    * around attention, the normed state, queries, keys and values before and after rotation, and
      the output;
    * in the MLP, the normed state and two or three matrices as wide as all experts of a token;
    * at the LM head, logits as they come, in FP32, and their softmax.

    Attention is assumed to be fused (SDPA, flash) and to keep no scores. One that writes them down
    (soft caps, sink logits, a long prompt over a window) takes heads x rows x context numbers more,
    which are not counted.

    Args:
        shape: The model.
        rows: Tokens that go through the model.
        logits: How many of them go through the LM head.
        width: Bytes of one number.
    """
    residual = rows * shape.hidden_size * width
    queries, keys = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
    wide = (3 if shape.gated_mlp else 2) * shape.experts_per_token * shape.intermediate_size
    norm = 2 * rows * shape.hidden_size * 4
    attention = residual + rows * 4 * (queries + keys) * width
    mlp = residual + rows * wide * width
    head = logits * shape.vocab_size * (width + 4 + 4)
    return residual + max(norm, attention, mlp, head)


def capacity(device: Device, usable: float | None = None) -> float:
    """Return the bytes of a device that a program can use.

    Args:
        device: The device.
        usable: Share of the marketed capacity, where the user knows better.

    Raises:
        DeviceError: If the share does not lie in (0, 1].
    """
    if usable is None:
        usable = VISIBLE_ECC if device.name in ECC_GDDR else VISIBLE
    if not 0 < usable <= 1:
        raise DeviceError(
            f"the usable share of {device.name}'s memory is {usable}: "
            "wanted a number above 0, 1 at most"
        )
    return device.memory_bytes * usable


def fit(run: Deployment, device: Device, usable: float | None = None) -> Fit:
    """Return whether a model fits on a device, and what would.

    Args:
        run: The model as it is to be run.
        device: The device.
        usable: As for `capacity`.

    Raises:
        DeviceError: If the usable share makes no sense.
    """
    return Fit(run=run, device=device, memory=peak_memory(run), capacity=capacity(device, usable))


def check_fits(run: Deployment, device: Device, usable: float | None = None) -> Fit:
    """Raise DeviceError where a model does not fit on a device, with what would fit.

    Args:
        run: The model as it is to be run.
        device: The device.
        usable: As for `capacity`.

    Returns:
        The result where it fits.

    Raises:
        DeviceError: If it does not fit.
    """
    result = fit(run, device, usable)
    if result.fits:
        return result
    parts = ", ".join(
        f"{name} {value / GIB:.2f}" for name, value in asdict(result.memory).items() if value
    )
    ways = [f"weights in {result.dtype_that_fits}"] if result.dtype_that_fits else []
    if result.longest_context:
        ways.append(f"a context of {result.longest_context}")
    raise DeviceError(
        f"{run.shape.name} does not fit on {device.name}: it takes "
        f"{result.memory.total / GIB:.2f} GiB ({parts}), {result.capacity / GIB:.2f} are there: "
        f"take {' or '.join(ways) or 'a smaller model or a larger device'}"
    )


def _check_heads(shape: ModelShape, heads: tuple[int, ...]) -> None:
    if list(heads) != sorted(set(heads)) or any(not 1 <= depth < shape.n_layers for depth in heads):
        raise DesignError(
            f"heads lie between the layers of {shape.name}: wanted rising depths of "
            f"1..{shape.n_layers - 1}, each once, got {list(heads)}"
        )

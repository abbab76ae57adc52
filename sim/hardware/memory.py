"""The most memory that a model with exit heads takes while it decodes, part by part."""

from __future__ import annotations

from dataclasses import dataclass

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
    "int4-g32": 0.5 + (16 + 4) / 8 / 32,
    "nvfp4": 0.5 + 8 / 8 / 16,
    "int4-g64": 0.5 + (16 + 4) / 8 / 64,
    "mxfp4": 0.5 + 8 / 8 / 32,
    "int4": 0.5 + (16 + 4) / 8 / 128,
}
"""Bytes of one weight, widest first.

``int4`` has a 16-bit scale and a 4-bit zero for each group of 128, as GPTQ and AWQ store it, the
other two for smaller groups. ``mxfp4`` has a scale of 8 bits for each 32 weights, ``nvfp4`` for
each 16. The scales of FP8 and INT8, one for a row or a block, are not counted.
"""

STATE_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0}
"""Bytes of one number of the cache or of a head."""

RESERVE = 2**30
"""Bytes outside all tensors: an assumption, which the user may set.

A CUDA context with lazily loaded kernels takes some 300 MB, before CUDA 11.7 more than 1000
(https://github.com/pytorch/pytorch/issues/107667). Workspaces of the matmul library and the
allocator's gaps come on top.
"""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A model as it is to be run.

    Attributes:
        shape: The model.
        dtype: Format of the layers' matrices, of ``WEIGHT_BYTES``. Embeddings, LM head and norms
            keep 16 bits where it is narrower, as quantised checkpoints do, and all but the experts
            where it is the format of a checkpoint that packs these alone.
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


def peak_memory(run: Deployment) -> Memory:
    """Return the most memory that a run takes at once, by part.

    * ``weights``: every expert of a mixture, a shared embedding once, each layer by its own sizes.
    * ``heads``: for each head its own matrix T of (hidden_size, hidden_size); final norm and LM
      head are the model's. A gate before it, of hidden_size + 1 numbers, is not counted.
    * ``cache``: keys and values of every position, or of as many as a window and one batch reach,
      by layer; and what layers hold of a state.
    * ``activations``: the larger of filling one prompt and decoding, see `activation_peak`.
    """
    shape = run.shape
    wide = run.activation_bytes
    matrices = sum(
        count * (layer.experts if packs_experts_alone(shape, run.dtype) else layer.matrices)
        for layer, count in shape.kinds.items()
    )
    weights = matrices * WEIGHT_BYTES[run.dtype] + (shape.total_parameters - matrices) * wide
    narrow = run.form.dtype or run.head_dtype
    heads = len(run.heads) * shape.head_parameters * (STATE_BYTES[narrow] if narrow else wide)
    if run.heads and not run.form.is_full:
        heads += (
            (run.form.shortlist or shape.vocab_size)
            * shape.head_width
            * (STATE_BYTES[run.form.dtype] if run.form.dtype else wide)
        )
    kept = sum(
        count * (layer.held(run.context, run.n_tokens) * layer.cache + layer.state)
        for layer, count in shape.kinds.items()
    )
    each = STATE_BYTES[run.cache_dtype] if run.cache_dtype else wide
    filling = activation_peak(shape, run.filled, logits=1, width=wide)
    decoding = activation_peak(
        shape, run.sequences * run.n_tokens, logits=run.sequences * run.n_tokens, width=wide
    )
    return Memory(
        weights=weights,
        heads=heads,
        cache=run.sequences * kept * each,
        activations=max(filling, decoding),
        reserve=run.reserve,
    )


def packed_dtype(shape: ModelShape) -> str | None:
    """Return the format that a checkpoint packs its matrices in; None where it packs none.

    Raises:
        DeviceError: If it is none of ``WEIGHT_BYTES``, or its config does not tell.
    """
    if shape.packed is not None and shape.packed not in WEIGHT_BYTES:
        raise DeviceError(
            f"the quantization_config of {shape.name} packs weights as {shape.packed}, which is "
            f"not counted here: name the nearest with --dtype, one of {', '.join(WEIGHT_BYTES)}"
        )
    return shape.packed


def packs_experts_alone(shape: ModelShape, dtype: str) -> bool:
    """Return whether a checkpoint packs its experts in this format, and nothing else."""
    return shape.packed_experts and dtype == shape.packed


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
    queries_and_keys = max(layer.attention_width for layer in shape.kinds)
    wide = (3 if shape.gated_mlp else 2) * max(layer.mlp_width for layer in shape.kinds)
    norm = 2 * rows * shape.hidden_size * 4
    attention = residual + rows * 4 * queries_and_keys * width
    mlp = residual + rows * wide * width
    head = logits * shape.vocab_size * (width + 4 + 4)
    return residual + max(norm, attention, mlp, head)


def _check_heads(shape: ModelShape, heads: tuple[int, ...]) -> None:
    if list(heads) != sorted(set(heads)) or any(not 1 <= depth < shape.n_layers for depth in heads):
        raise DesignError(
            f"heads lie between the layers of {shape.name}: wanted rising depths of "
            f"1..{shape.n_layers - 1}, each once, got {list(heads)}"
        )

"""Named options of a model's layers, weights and heads."""

from __future__ import annotations

from enum import StrEnum

ALL_TOKENS = (0, -1)
"""As ``top_k``, keeps all tokens: 0 in ``transformers``, both in vLLM."""


MODELS = (
    "A causal LM: a folder, a GGUF file, a PEFT adapter's folder, a name on the hub, or smollm2 "
    "(run `make smollm2` once). FOLDER::FILE.gguf names one file of several, MODEL::ADAPTER the "
    "model of an adapter."
)
"""What can be named as a model (see `adadecode.engine.loading.model_files`)."""


class GraphMode(StrEnum):
    """How layers are run (see `adadecode.engine.model.cuda_graphs`)."""

    AUTO = "auto"
    """CUDA graphs where one process runs a model in native numerics on one CUDA device, else
    eager."""
    EAGER = "eager"
    STATIC = "static"
    COMPILE = "compile"
    CUDA = "cuda"
    CUDA_COMPILE = "cuda+compile"


class Numerics(StrEnum):
    """Whether all designs agree bit for bit (see `adadecode.engine.model.canonical`)."""

    NATIVE = "native"
    CANONICAL = "canonical"


class Dtype(StrEnum):
    """The format a model is loaded in; ``auto`` is the checkpoint's own on a GPU, else float32."""

    AUTO = "auto"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class PackedWeights(StrEnum):
    """Formats that the layers' matrices can be packed in as a checkpoint is loaded."""

    INT8 = "int8"
    INT4 = "int4"


class HeadDtype(StrEnum):
    """Formats of heads."""

    INT8 = "int8"
    OWN = "own"
    """The model's own format, whatever the heads were saved with."""


class PromptSplit(StrEnum):
    """How a plain text is cut into prompts."""

    LINE = "line"
    """A prompt a line."""
    BLANK = "blank"
    """Blank lines stand between prompts."""
    FILE = "file"
    """All of it is one prompt."""

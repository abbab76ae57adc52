"""A training run that was stopped, and goes on: its state, its cached states and its checkpoint."""

from __future__ import annotations

from scripts.fuzz.interrupted import until_opened
from scripts.fuzz.reader import Reader
from scripts.fuzz.readers.heads import tiny_heads
from scripts.fuzz.readers.tiny_model import decoded, tiny_model
from scripts.fuzz.seals import seal_training

PROMPTS = tuple(f"w{i} w{i + 1} w{2 * i}" for i in range(10, 16))


def _train() -> str:
    from adadecode.engine.training.options import TrainingOptions
    from adadecode.engine.training.pipeline import train_heads

    model, tokenizer = tiny_model()
    options = TrainingOptions(
        depths=(2, 4), max_new_tokens=4, epochs=2, batch_tokens=8, held_out=0.3
    )
    heads = train_heads(model, tokenizer, PROMPTS, out="heads", options=options)
    matrices = {depth: matrix.tolist() for depth, matrix in heads.transforms.items()}
    return f"{matrices} {heads.frequent}"


def _prepare() -> None:
    """Load what a training needs, but train nothing: after a backward pass a fork cannot train."""
    import adadecode.engine.training.pipeline  # noqa: F401

    decoded(tiny_model()[0])
    tiny_heads().save("heads")


TRAINING = Reader(
    name="training, resumed",
    build=lambda: until_opened("heads.safetensors", _train),
    seal=seal_training,
    actions={"resume": _train},
    warm=_prepare,
)

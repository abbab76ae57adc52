"""Exit heads: their matrices and their description."""

from __future__ import annotations

from typing import Any

from scripts.fuzz.reader import Reader
from scripts.fuzz.readers.tiny_model import VOCABULARY, decoded, tiny_model
from scripts.fuzz.seals import seal_heads


def tiny_heads() -> Any:  # noqa: ANN401 - torch is loaded when it is called
    """Return heads with random matrices at depths 2 and 4."""
    import torch

    from adadecode.engine import ExitHeads

    torch.manual_seed(1)
    matrices = {depth: torch.eye(32) + 0.1 * torch.randn(32, 32) for depth in (2, 4)}
    metrics = [
        {"depth": depth, "kl": 0.5, "agreement": 0.5, "positions": 9}
        | {"kl_identity": 0.6, "agreement_identity": 0.4}
        for depth in (2, 4)
    ]
    return ExitHeads(tiny_model()[0], matrices, metrics, frequent=range(3, VOCABULARY))


def _build() -> None:
    tiny_heads().save("heads")


def _decode() -> str:
    from adadecode.engine import ExitHeads

    model, _ = tiny_model()
    heads = ExitHeads.load("heads", model)
    matrices = {
        depth: None if matrix is None else matrix.tolist()
        for depth, matrix in heads.transforms.items()
    }
    about = f"{heads.depths} {heads.form} {heads.frequent} {heads.metrics} {heads.coverage}"
    return f"{decoded(model, heads)} {about} {matrices}"


def _describe() -> str:
    """Return what a recording takes from the description before it loads the heads.

    A description that cannot be used counts as none: loading the heads says what is wrong.
    """
    from adadecode.engine.profiling.execution_options import exits_of
    from adadecode.engine.profiling.options import RecordingOptions

    found = exits_of("heads", RecordingOptions())
    return "" if found.matrices in {0, 2} else repr(found)


HEADS = Reader(
    name="heads",
    build=_build,
    seal=seal_heads,
    actions={"decode": _decode, "describe": _describe},
)

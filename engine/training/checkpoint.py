"""The checkpoint of a training run: matrices and the optimizer's averages after each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from adadecode.engine.heads.heads_file import OF_MATRICES
from adadecode.engine.runtime.tensor_file import read_tensors, write_tensors
from adadecode.profiles.errors import InputError

EPOCHS = "epochs"
"""The key of the metadata that counts finished epochs."""

TODO = "delete it to train the heads from the start"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file of tensors with a digest, which says of which training it is.

    Attributes:
        path: The file.
        about: What tells the training from others.
    """

    path: Path
    about: Mapping[str, str] = field(default_factory=dict)

    def exists(self) -> bool:
        """Return whether an epoch was finished."""
        return self.path.exists()

    def write(self, tensors: Mapping[str, torch.Tensor], epochs: int) -> None:
        """Replace the checkpoint by one after ``epochs`` epochs. Raises InputError."""
        write_tensors(self.path, tensors, {**self.about, EPOCHS: str(epochs)})

    def read(
        self, layouts: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
    ) -> tuple[int, dict[str, torch.Tensor]]:
        """Return how many epochs are finished, and the tensors.

        Args:
            layouts: The dtype and the shape of every tensor.

        Raises:
            InputError: The checkpoint is damaged, or of other training.
        """
        numbers = sum(math.prod(shape) for _, shape in layouts.values())
        found = read_tensors(self.path, TODO, numbers=numbers)
        if found.claimed != found.digest():
            raise self.damaged("its digest is not that of its numbers")
        epochs = found.about.get(EPOCHS, "")
        if found.about != {**self.about, EPOCHS: epochs}:
            raise InputError(f"the checkpoint {self.path} is of another training run: {TODO}")
        own = found.layouts()
        for name in sorted({*layouts, *own}):
            if own.get(name) != layouts.get(name):
                raise self.damaged(f"wanted {name} as {layouts.get(name)}, got {own.get(name)}")
        for name, tensor in found.tensors.items():
            low, high = (0.0, math.inf) if name.endswith("_sq") else (-math.inf, math.inf)
            if name.endswith(".offset"):
                low, high = -OF_MATRICES.largest, OF_MATRICES.largest
            if not (tensor.isfinite() & (tensor >= low) & (tensor <= high)).all():
                raise self.damaged(f"{name} holds numbers that no training gives")
        return (int(epochs) if epochs.isdecimal() and len(epochs) < 10 else 0), found.tensors

    def damaged(self, reason: str) -> InputError:
        """Return the error that says that the checkpoint is damaged."""
        return InputError(f"the checkpoint {self.path} is damaged ({reason}): {TODO}")

"""`TrainingOptions`: which heads are trained and how, checked before a model is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from adadecode.engine.runtime.choices import HeadDtype
from adadecode.engine.runtime.notations import DEPTHS
from adadecode.engine.runtime.option_fields import check_counts, option, settle_values
from adadecode.engine.training.run_folder import CONTINUATIONS
from adadecode.profiles.errors import HeadsError, InputError
from adadecode.sim.core.head_form import HeadForm

HEADS, TRAINING = "Heads", "Training"
ALL = "all"
"""As ``depths``: a head after every layer but the last."""
LR_TIMES_WIDTH = 0.5
"""The default peak learning rate, times the model's width d: 2e-3 for d = 256, 1.2e-4 for d = 4096.

So a step moves T by about as much, relative to its norm, in every model.
"""

GATE_CONFIDENCE = 0.8
"""How sure a head must be, by default, for its gate to have to let it through."""


class HeadStart(StrEnum):
    """Where the matrices of heads start."""

    CLOSED_FORM = "closed-form"
    """A ridge regression of the last layer's hidden states on those of the depth."""
    IDENTITY = "identity"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Which heads are trained, on what, and how.

    Each field is an option of ``adadecode-train``, whose ``--help`` describes it.

    Raises:
        InputError: An option is out of range.
        HeadsError: No heads can have this form.
    """

    depths: tuple[int, ...] | str | None = option(
        "Depths of the heads: a list like 4,8,12, or all.",
        shown="every 4th layer",
        notation=DEPTHS,
        panel=HEADS,
    )
    shortlist: int | None = option(
        "Save heads that give logits of only this many frequent tokens.",
        shown="all tokens",
        panel=HEADS,
    )
    head_dtype: HeadDtype | None = option(
        "The format in which the saved heads read their matrix and the LM head; 'own' is the "
        "model's.",
        shown="own",
        panel=HEADS,
    )
    max_new_tokens: int = option(
        "Longest continuation of a prompt, in tokens.", default=256, panel=TRAINING
    )
    start: HeadStart = option(
        "Where the heads start: 'closed-form' is the best matrix in least squares, 'identity' the "
        "LM head as it is.",
        default=HeadStart.CLOSED_FORM,
        panel=TRAINING,
    )
    epochs: int = option(
        "Passes over the positions after the start; 0 for the start alone.",
        default=4,
        panel=TRAINING,
    )
    lr: float | None = option(
        "Peak learning rate.", shown="0.5 / the model's width", panel=TRAINING
    )
    batch_tokens: int = option("Positions in a step.", default=1024, panel=TRAINING)
    held_out: float = option(
        "Share of the prompts that are kept for measuring the heads.", default=0.1, panel=TRAINING
    )
    seed: int = option(
        "Seed of the choice of held-out prompts and of the order of the others.",
        default=0,
        panel=TRAINING,
    )
    batch_prompts: int = option("Prompts continued at once.", default=32, panel=TRAINING)
    reuse: str | None = option(
        "The folder of an earlier run, whose continuations by the same model are used again.",
        panel=TRAINING,
    )
    gate_confidence: float = option(
        "Each head gets a gate, which learns where the head is sure of its token by more than this "
        "and right; 1 trains no gates.",
        default=GATE_CONFIDENCE,
        panel=TRAINING,
    )
    gates_only: str | None = option(
        "The folder of trained heads: gates are trained beside them, and nothing else.",
        panel=TRAINING,
    )
    keep_cache: bool = option("Keep the hidden states when done.", default=False, panel=TRAINING)

    def __post_init__(self) -> None:
        settle_values(self)
        check_counts(self, "max_new_tokens", "batch_tokens", "batch_prompts")
        if self.epochs < 0:
            raise InputError(f"wanted --epochs of 0 or more, got {self.epochs}")
        if self.reuse is not None and not (Path(self.reuse) / CONTINUATIONS).is_file():
            raise InputError(
                f"wanted --reuse as the folder of an earlier training run, {self.reuse} holds no "
                f"{CONTINUATIONS}: name another, or leave it out"
            )
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"wanted a finite --lr above 0, got {self.lr}")
        if not 0 < self.held_out < 1:
            raise InputError(
                "wanted --held-out between 0 and 1, the share of prompts kept for measuring, "
                f"got {self.held_out}"
            )
        if not 0 <= self.gate_confidence <= 1:
            raise InputError(
                "wanted --gate-confidence as a probability in [0, 1], where 1 trains no gates, "
                f"got {self.gate_confidence}"
            )
        self._check_gates_only()
        if self.seed < 0:
            raise InputError(f"wanted a --seed of 0 or more, got {self.seed}")
        if isinstance(self.depths, str) and self.depths != ALL:
            raise InputError(f"wanted --depths such as 4,8,12, or all, got {self.depths!r}")
        self.form()

    def _check_gates_only(self) -> None:
        if self.gates_only is None:
            return
        if self.gate_confidence == 1:
            raise InputError(
                "--gates-only trains gates and --gate-confidence 1 none: leave one of them out"
            )
        own = {
            "--depths": self.depths,
            "--shortlist": self.shortlist,
            "--head-dtype": self.head_dtype,
        }
        if given := [name for name, value in own.items() if value is not None]:
            raise InputError(
                f"--gates-only leaves the heads in {self.gates_only} as they are, with their "
                f"depths and form: leave {' and '.join(given)} out"
            )

    def form(self) -> HeadForm:
        """Return the form in which the heads are saved."""
        dtype = self.head_dtype
        own = dtype is None or dtype == HeadDtype.OWN
        return HeadForm(shortlist=self.shortlist, dtype=None if own else str(dtype))

    def depths_in(self, n_layers: int) -> tuple[int, ...]:
        """Return the depths of the heads of a model.

        Args:
            n_layers: The number of the model's layers.

        Raises:
            HeadsError: A depth lies outside the model, or the depths do not rise.
        """
        if self.depths is None:
            return default_depths(n_layers)
        if isinstance(self.depths, str):
            return tuple(range(1, n_layers))
        depths = self.depths
        rising = list(depths) == sorted(set(depths))
        if not depths or not rising or not all(1 <= depth < n_layers for depth in depths):
            raise HeadsError(
                f"wanted --depths from 1 to {n_layers - 1}, each once and in rising order, as this "
                f"model has {n_layers} layers, got {list(depths)}: leave out what does not fit"
            )
        return depths

    def peak_lr(self, width: int) -> float:
        """Return the peak learning rate of a model of this width."""
        return LR_TIMES_WIDTH / width if self.lr is None else self.lr

    def to_settings(self, n_layers: int, width: int) -> dict[str, Any]:
        """Return the options that a training run that goes on must have again.

        Args:
            n_layers: The number of the model's layers.
            width: The size of its hidden states.
        """
        form = self.form()
        return {
            "depths": list(self.depths_in(n_layers)),
            "max_new_tokens": self.max_new_tokens,
            **({} if self.gates_only is not None else self._of_matrices(width)),
            "seed": self.seed,
            "held_out": self.held_out,
            "gate_confidence": self.gate_confidence,
            **({} if form.is_full else {"form": form.to_dict()}),
        }

    def _of_matrices(self, width: int) -> dict[str, Any]:
        """Return the settings of how matrices are trained."""
        return {
            "start": str(self.start),
            "epochs": self.epochs,
            "batch_tokens": self.batch_tokens,
            "lr": self.peak_lr(width),
        }


def default_depths(n_layers: int) -> tuple[int, ...]:
    """Return every 4th layer, as in the paper; in a model of four layers or fewer, every layer."""
    step = 4 if n_layers > 4 else 1
    return tuple(range(step, n_layers, step))


DEFAULTS = TrainingOptions()
"""The options of training where none is given."""

"""The form of exit heads: which rows of the LM head they multiply with, and in which format.

A head uses the model's whole LM head, or the rows of a shortlist of its tokens, and either of them
in int8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import HeadsError, ShapeError

DTYPES = ("int8",)
"""Formats that heads may have of their own."""


@dataclass(frozen=True, kw_only=True)
class HeadForm:
    """The form of a model's exit heads. No form changes a text, as verification stays as it is.

    Attributes:
        shortlist: Number of tokens that the heads give logits for; None for the whole vocabulary.
        dtype: Format of all that a head reads, T and rows of the LM head, where it is not the
            model's own.
        prompt: Whether the tokens of a text's prompt are on its shortlist too.

    Raises:
        HeadsError: If a part makes no sense.
    """

    shortlist: int | None = None
    dtype: str | None = None
    prompt: bool = False

    def __post_init__(self) -> None:
        if self.prompt and self.shortlist is None:
            raise HeadsError(
                "the tokens of a prompt are added to a shortlist: say how many tokens it has"
            )
        if self.shortlist is not None and (
            isinstance(self.shortlist, bool)
            or not isinstance(self.shortlist, int)
            or self.shortlist < 1
        ):
            raise HeadsError(
                f"a shortlist holds at least 1 token, got {self.shortlist!r}: "
                "leave it out for the whole vocabulary"
            )
        if self.dtype is not None and self.dtype not in DTYPES:
            raise HeadsError(
                f"no heads in {self.dtype!r}: "
                f"wanted {', '.join(DTYPES)}, or none for the model's own format"
            )

    @property
    def tokens(self) -> tuple[int | None, bool]:
        """Which tokens there are logits of: heads of the same say the same, in any format."""
        return self.shortlist, self.prompt

    def check_shape(self, shape: ModelShape) -> None:
        """Raise ShapeError for a shortlist that leaves out no token of this model."""
        if self.shortlist is not None and self.shortlist >= shape.vocab_size:
            raise ShapeError(
                f"a shortlist of {self.shortlist} tokens leaves out none of the "
                f"{shape.vocab_size} of {shape.name}: take fewer"
            )

    @property
    def is_full(self) -> bool:
        """Whether heads use the model's LM head as it is."""
        return self.shortlist is None and self.dtype is None

    @property
    def label(self) -> str:
        """A short name: ``full``, ``int8``, ``shortlist:4096``, ``shortlist:4096 prompt int8``."""
        shortlist = None if self.shortlist is None else f"shortlist:{self.shortlist}"
        words = (shortlist, "prompt" if self.prompt else None, self.dtype)
        return " ".join(word for word in words if word) or "full"

    def to_dict(self) -> dict[str, Any]:
        """Return the form as the manifest and ``--json`` hold it."""
        prompt = {"prompt": True} if self.prompt else {}
        return {"shortlist": self.shortlist, "dtype": self.dtype, **prompt}


FULL = HeadForm()
"""The paper's form: E*(T h) over the whole vocabulary, in the model's own format."""

_NAMED = re.compile(
    rf"shortlist:(\d+)([ +]prompt)?(?:[ +]({'|'.join(DTYPES)}))?|({'|'.join(DTYPES)})"
)


def form_named(name: str) -> HeadForm:
    """Return the form of a `HeadForm.label`, in which ``+`` may stand for the space.

    Raises:
        HeadsError: If the name is not that of a form.
    """
    if name == FULL.label:
        return FULL
    found = _NAMED.fullmatch(name)
    if found is None:
        raise HeadsError(
            "wanted a form of heads like full, int8, shortlist:4096 or shortlist:4096+int8, got "
            f"{name!r}"
        )
    size, prompt, dtype_of_shortlist, dtype = found.groups()
    return HeadForm(
        shortlist=None if size is None else int(size),
        dtype=dtype_of_shortlist or dtype,
        prompt=prompt is not None,
    )

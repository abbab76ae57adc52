"""Exit heads: E* (T norm(h)), the model's LM head and final norm behind a matrix T per depth.

This is the paper's head (section 2.2). A head of an 8B model reads as much as 2.4 layers. Cheaper
forms of the same heads (`adadecode.sim.core.head_form.HeadForm`) take some rows of E* alone, or
read T and E* in int8. Drafts are verified as before, so no form changes a text.

With a shortlist a head's confidence is the probability *within* the shortlist. It is never less
than that of the whole softmax, and may be near 1 where the shortlist as a whole is unlikely, so a
gamma means less than it does of a full head.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from huggingface_hub import ModelHubMixin
from transformers import PreTrainedModel

from adadecode.engine.heads.arguments import (
    check_model,
    checked_folder,
    checked_shortlist,
    checked_tokens,
    checked_transforms,
    require_depths,
    whole_depth,
)
from adadecode.engine.heads.formed_heads import FormedHeads
from adadecode.engine.heads.gates import Gates
from adadecode.engine.heads.heads_file import read_heads, write_heads
from adadecode.engine.heads.hub_heads import hub_folder
from adadecode.engine.heads.model_samples import body_samples, lm_head_samples
from adadecode.engine.model.end_tokens import own_end_tokens
from adadecode.engine.runtime import fingerprints
from adadecode.profiles.errors import HeadsError
from adadecode.profiles.token_ranking import TokenRanking
from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import FULL, HeadForm


class ExitHeads(FormedHeads, ModelHubMixin, library_name="adadecode"):
    """The exit heads of one model, by depth.

    Load trained ones with `load`, make untrained ones with `identity`, share them with
    ``push_to_hub`` and ``ExitHeads.from_pretrained(repository, model=model)``.

    Attributes:
        transforms: The matrices as they were given, shallowest first.
        form: The form that the heads have. Where no product of the device reads int8, it falls
            back to the model's own format, with a warning.
        frequent: Token ids, the most frequent first.
        tokens: The shortlist, by rising id; None for the whole vocabulary.
        metrics: What training measured, a row a depth.
        coverage: What the form loses (`adadecode.engine.evaluation.head_coverage`), where training
            measured it.
        gates: A gate beside each head; None where there are none.

    Args:
        model: The model that the heads belong to.
        transforms: By depth the matrix T, shape ``(d, d)``; None for the identity. Depths lie
            between the layers: 1 to L - 1.
        metrics: What training measured.
        form: What of the LM head the heads use, and in which format.
        frequent: Token ids, the most frequent first. A shortlist is the beginning of them, after
            which come all others by id (`adadecode.profiles.token_ranking`).
        gates: A gate beside each head.

    Raises:
        HeadsError: A depth, a matrix, the form, a token or a gate does not go with the model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        transforms: Mapping[int, torch.Tensor | None],
        metrics: list[dict[str, Any]] | None = None,
        *,
        form: HeadForm = FULL,
        frequent: Sequence[int] = (),
        gates: Gates | None = None,
    ) -> None:
        check_model(model)
        config = model.config.get_text_config()
        weight = model.get_output_embeddings().weight
        width = weight.shape[1]
        matrices = checked_transforms(transforms, config.num_hidden_layers, width)
        self.gates = None if gates is None else gates.beside(weight.device, tuple(matrices), width)
        self.frequent = checked_tokens(frequent, len(weight))
        self.metrics = metrics or []
        self.coverage: dict[str, Any] | None = None
        self.about = {
            "model_type": config.model_type,
            "n_layers": config.num_hidden_layers,
            "hidden_size": config.hidden_size,
            "vocab_size": config.vocab_size,
        }
        self.signature, self.body = lm_head_samples(model), body_samples(model)
        size = form.shortlist
        tokens = None if size is None else checked_shortlist(self.ranked(model), size)
        super().__init__(model, matrices, form, tokens)

    def shaped(
        self,
        model: PreTrainedModel,
        *,
        shortlist: int | None = None,
        dtype: str | None = None,
        prompt: bool = False,
        frequent: Sequence[int] | None = None,
    ) -> ExitHeads:
        """Return the same heads in another form.

        Args:
            model: The model that the heads belong to.
            shortlist: How many tokens the heads give logits of (default: all).
            dtype: ``int8``, or None for the model's own format.
            prompt: Whether the tokens of a text's prompt are on its shortlist too.
            frequent: Token ids, the most frequent first; as before by default.

        Raises:
            HeadsError: The form does not go with the model.
        """
        form = HeadForm(shortlist=shortlist, dtype=dtype, prompt=prompt)
        known = self.frequent if frequent is None else frequent
        return ExitHeads(
            model, self.transforms, self.metrics, form=form, frequent=known, gates=self.gates
        )

    def gated(self, model: PreTrainedModel, gates: Gates | None) -> ExitHeads:
        """Return the same heads with other gates, or without any.

        Args:
            model: The model that the heads belong to.
            gates: A gate beside each head; None for none.

        Raises:
            HeadsError: They are not the gates of these heads.
        """
        heads = ExitHeads(
            model,
            self.transforms,
            self.metrics,
            form=self.form,
            frequent=self.frequent,
            gates=gates,
        )
        heads.coverage = self.coverage
        return heads

    def ranked(self, model: PreTrainedModel) -> TokenRanking:
        """Return all tokens in the order in which shortlists take them.

        Those that end the model's texts come first.
        """
        vocabulary = len(model.get_output_embeddings().weight)
        ends = sorted(own_end_tokens(model, vocabulary))
        counted = (*ends, *(token for token in self.frequent if token not in ends))
        return TokenRanking(counted=counted, vocabulary=vocabulary)

    @classmethod
    def identity(cls, model: PreTrainedModel, depths: Iterable[SupportsIndex]) -> ExitHeads:
        """Return untrained heads: the model's own LM head at each depth, T = I.

        This is the paper's ablation "original LM head as the early head". It needs no training, and
        its drafts are right less often.

        Example:
            ::

                heads = ExitHeads.identity(model, [8, 16, 24])

        Args:
            model: The model.
            depths: Depths of the heads, in layers, 1 to L - 1.

        Raises:
            HeadsError: A depth is none of this model.
        """
        if isinstance(depths, (str, bytes)) or not isinstance(depths, Iterable):
            raise HeadsError(
                f"wanted the depths of heads as a list of whole numbers, got {depths!r}: give [8]"
            )
        return cls(model, {whole_depth(depth): None for depth in depths})

    def sha256(self) -> str:
        """Return a digest over every number of the matrices and the gates, and over the form."""
        matrices = {
            str(depth): None if matrix is None else _wide(matrix)
            for depth, matrix in self.transforms.items()
        }
        gates = {} if self.gates is None else self.gates.tensors()
        return fingerprints.of_all_bytes(matrices | gates, self.describe())

    def digest(self) -> str:
        """Return a fingerprint of a few numbers of each matrix, of gates and a form not full.

        Recordings name their heads by it. `sha256` notices every change.
        """
        matrices = fingerprints.of_tensors(
            (str(depth), matrix) for depth, matrix in self.transforms.items()
        )
        more: list[Any] = [] if self.form.is_full else [self.describe()]
        if self.gates is not None:
            more.append(fingerprints.of_all_bytes(self.gates.tensors()))
        return fingerprints.of_json([matrices, *more]) if more else matrices

    def require(self, depths: Sequence[int]) -> None:
        """Raise HeadsError where a depth has no head."""
        require_depths(depths, self.depths)

    def require_design(self, design: Design) -> None:
        """Raise HeadsError where a design asks a head or a gate that is not there."""
        self.require(design.placement)
        if design.gates:
            self.require_gates()

    def require_gates(self) -> Gates:
        """Return the gates. Raise HeadsError where there are none."""
        if self.gates is None:
            raise HeadsError(
                "these heads have no gates to ask: train them with adadecode-train --gates-only, "
                "or take a gate threshold of 0"
            )
        return self.gates

    # -- files --------------------

    def save(self, path: str | PathLike[str]) -> None:
        """Write the heads into a folder that `load` reads.

        ``heads.safetensors`` holds the matrices in 16 bits, whatever the form, and the gates in
        32, and ``heads.json`` the rest and a digest of all of it. The heads that were there stay
        until these are whole.

        Args:
            path: The folder; made where it is missing.

        Raises:
            InputError: The folder cannot be written to.
        """
        about = {
            "form": self.form.to_dict(),
            "model": self.about,
            "signature": self.signature,
            "metrics": self.metrics,
            "coverage": self.coverage,
            **({"body": self.body} if self.body else {}),
        }
        write_heads(checked_folder(path), self.transforms, self.frequent, about, self.gates)

    @classmethod
    def load(cls, path: str | PathLike[str], model: PreTrainedModel) -> ExitHeads:
        """Read heads that ``adadecode-train`` or `save` wrote.

        They are checked to be whole, by a digest over all their bytes, and this model's, by its
        shape and by samples of its weights. The model may be loaded in any dtype. Heads that an
        earlier version saved carry no digest; a warning says what was checked of them.

        Example:
            ::

                model = AutoModelForCausalLM.from_pretrained("meta-llama/Llama-3.1-8B")
                heads = ExitHeads.load("heads/llama-3.1-8b", model)
                decoder = AdaDecoder(model, heads)

        Args:
            path: The folder with ``heads.safetensors`` and ``heads.json``.
            model: The model that the heads were trained for.

        Returns:
            The heads, in the form that they were trained for.

        Raises:
            HeadsError: There are no heads in the folder, or they are damaged, edited, newer than
                this program, or another model's.
        """
        check_model(model)
        folder = checked_folder(path)
        content = read_heads(folder, model)
        heads = cls(
            model,
            content.transforms,
            content.metrics,
            form=content.form,
            frequent=content.frequent,
            gates=content.gates,
        )
        heads.coverage = content.coverage
        return heads

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        model: PreTrainedModel | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> ExitHeads:
        """Read heads from a folder, or from a repository of the hub.

        Args:
            pretrained_model_name_or_path: The folder or the repository.
            model: The model that the heads were trained for.
            cache_dir: The folder of cached copies; the library's own by default.
            local_files_only: Whether to take a cached copy without asking the hub.
            options: ``revision``, ``force_download`` and ``token``, as of ``huggingface_hub``.

        Raises:
            HeadsError: As `load` does, or there are no such heads, or the hub does not answer.
        """
        check_model(model)
        assert model is not None
        name = str(pretrained_model_name_or_path)
        if Path(name).is_dir():
            return cls.load(name, model)
        folder = hub_folder(name, cache_dir=cache_dir, local_files_only=local_files_only, **options)
        return cls.load(folder, model)


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix in 32 bits or more, where those of 16 bits hold the same numbers."""
    return matrix.to(torch.promote_types(matrix.dtype, torch.float32))

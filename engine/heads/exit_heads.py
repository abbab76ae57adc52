"""Exit heads: E* (T norm(h)), the model's LM head and final norm behind a matrix T per depth.

This is the paper's head (section 2.2). A head of an 8B model reads as much as 2.4 layers. Cheaper
forms of the same heads (`adadecode.sim.core.head_form.HeadForm`) take some rows of E* alone, or
read T and E* in int8. Drafts are verified as before, so no form changes a text.

With a shortlist a head's confidence is the probability *within* the shortlist. It is never less
than that of the whole softmax, and may be near 1 where the shortlist as a whole is unlikely, so a
gamma means less than it does of a full head.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import nn
from transformers import PreTrainedModel

from adadecode.engine.heads.gates import Gates
from adadecode.engine.heads.heads_description import CONFIG
from adadecode.engine.heads.heads_file import WEIGHTS, read_heads, write_heads
from adadecode.engine.heads.int8 import Int8Matrix
from adadecode.engine.heads.lm_head_rows import HeadRows
from adadecode.engine.heads.model_samples import body_samples, lm_head_samples
from adadecode.engine.loading.hub import from_here, hub_reason, quiet_hub
from adadecode.engine.model import few_rows
from adadecode.engine.model.end_tokens import own_end_tokens
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime import fingerprints
from adadecode.profiles.errors import HeadsError, InputError
from adadecode.profiles.token_ranking import TokenRanking
from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import FULL, HeadForm

_HUB_OPTIONS = ("revision", "force_download", "token")


class ExitHeads(ModelHubMixin, library_name="adadecode"):
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
        _check_model(model)
        config = model.config.get_text_config()
        head = model.get_output_embeddings()
        self.transforms = _checked_transforms(
            transforms, config.num_hidden_layers, head.weight.shape[1]
        )
        self.metrics = metrics or []
        self.coverage: dict[str, Any] | None = None
        self.gates = (
            None
            if gates is None
            else gates.beside(head.weight.device, self.depths, head.weight.shape[1])
        )
        self.about = {
            "model_type": config.model_type,
            "n_layers": config.num_hidden_layers,
            "hidden_size": config.hidden_size,
            "vocab_size": config.vocab_size,
        }
        self.signature, self.body = lm_head_samples(model), body_samples(model)
        self._matrices: dict[int, torch.Tensor | Int8Matrix | None] = {
            d: None if m is None else m.to(head.weight.device, next(model.parameters()).dtype)
            for d, m in self.transforms.items()
        }
        vocabulary = len(head.weight)
        self.frequent = _checked_tokens(frequent, vocabulary)
        self.tokens = (
            None if form.shortlist is None else _shortlist(self.ranked(model), form.shortlist)
        )
        self.form = HeadForm(
            shortlist=None if self.tokens is None else len(self.tokens),
            dtype=form.dtype,
            prompt=form.prompt,
        )
        self._rows: HeadRows | None = None
        self._of_text = False
        self._take_form(head)

    def _take_form(self, head: nn.Module) -> None:
        """Gather and quantise what the form needs."""
        if self.form.dtype is not None:
            try:
                rows = HeadRows(head, self.tokens, int8=True, extends=self.form.prompt)
                matrices = {
                    depth: _quantised_rest(matrix, head.weight.device)  # type: ignore[arg-type]
                    for depth, matrix in self.transforms.items()
                    if matrix is not None
                }
            except LookupError as error:
                warnings.warn(
                    f"no int8 heads on this device ({error}): they stay in the model's own format",
                    stacklevel=4,
                )
                self.form = replace(self.form, dtype=None)
            else:
                self._rows = rows
                self._matrices |= matrices
        if self.tokens is not None and self._rows is None:
            self._rows = HeadRows(head, self.tokens, int8=False, extends=self.form.prompt)

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

    def for_text(self, prompt: Iterable[int]) -> ExitHeads:
        """Return the heads as they are for a text with this prompt.

        They are these very heads unless the form adds the tokens of the prompt to the shortlist.

        Args:
            prompt: Token ids.
        """
        if not self.form.prompt or self._rows is None:
            return self
        heads = copy(self)
        heads._rows = self._rows.beside(prompt)
        heads._of_text = True
        return heads

    def held(self) -> torch.Tensor | None:
        """Return the ids of the tokens that the heads give logits of; None for all."""
        return None if self._rows is None or self._rows.tokens is None else self._rows.tokens.cpu()

    @property
    def of_text(self) -> bool:
        """Whether these are the heads of a single text, of which no graphs are kept."""
        return self._of_text

    def ranked(self, model: PreTrainedModel) -> TokenRanking:
        """Return all tokens in the order in which shortlists take them.

        Those that end the model's texts come first.
        """
        vocabulary = len(model.get_output_embeddings().weight)
        ends = sorted(own_end_tokens(model, vocabulary))
        counted = (*ends, *(token for token in self.frequent if token not in ends))
        return TokenRanking(counted=counted, vocabulary=vocabulary)

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths that have a head, shallowest first."""
        return tuple(self.transforms)

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
        return cls(model, {_depth(depth): None for depth in depths})

    def apply(self, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """Return T norm(h), which the LM head is then given.

        Args:
            depth: Depth of the head.
            normed: Hidden states after the final norm, shape ``(..., d)``.

        Returns:
            A tensor of the same shape.
        """
        matrix = self._matrices[depth]
        if matrix is None:
            return normed
        return (
            normed + matrix(normed).to(normed.dtype)
            if isinstance(matrix, Int8Matrix)
            else few_rows.linear(normed.to(matrix.device), matrix)
        )

    def logits(self, parts: SegmentedModel, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """Return the logits of one head.

        Args:
            parts: The model.
            depth: Depth of the head.
            normed: Hidden states after the final norm, shape ``(1, n, d)``.

        Returns:
            Logits in FP32, shape ``(1, n, V)``; minus infinity for tokens outside the shortlist.
        """
        own = self.own_logits(parts, depth, normed)
        return own if self._rows is None else self._rows.among_all(own)

    def own_logits(self, parts: SegmentedModel, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """Return the logits of one head for the tokens that it has, which `listed` names.

        The arguments are those of `logits`.

        Returns:
            Logits in FP32, shape ``(1, n, S)``: S tokens of a shortlist, or all V.
        """
        given = self.apply(depth, normed)
        return (
            parts.unembed(given) if self._rows is None else self._rows.logits(given, parts.finish)
        )

    @property
    def listed(self) -> torch.Tensor | None:
        """The rising token ids of `own_logits`, ``(S,)``; None where they are of all tokens."""
        return None if self._rows is None else self._rows.tokens

    @property
    def product(self) -> str | None:
        """What multiplies int8: a name of `adadecode.engine.heads.int8.PRODUCTS`, or None."""
        return (
            self._rows.matrix.product
            if self._rows is not None and isinstance(self._rows.matrix, Int8Matrix)
            else None
        )

    def describe(self) -> dict[str, Any]:
        """Return the form as a manifest holds it."""
        return {
            **self.form.to_dict(),
            "product": self.product,
            "tokens": None if self.tokens is None else list(self.tokens),
        }

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
        write_heads(_folder(path), self.transforms, self.frequent, about, self.gates)

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
        _check_model(model)
        folder = _folder(path)
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
        _check_model(model)
        assert model is not None
        name = str(pretrained_model_name_or_path)
        if Path(name).is_dir():
            return cls.load(name, model)
        known = {key: options[key] for key in _HUB_OPTIONS if key in options}
        try:
            here = local_files_only or from_here(name, cache=cache_dir)
        except InputError as error:
            raise HeadsError(str(error)) from error
        try:
            with quiet_hub.needed():
                folder = snapshot_download(
                    name,
                    allow_patterns=[WEIGHTS, CONFIG],
                    cache_dir=cache_dir,
                    local_files_only=here,
                    **known,
                )
        except (OSError, ValueError) as error:
            why = hub_reason(error, name) or type(error).__name__
            raise HeadsError(
                f"no heads {name!r}, neither a folder here nor to be had from the hub: {why}"
            ) from error
        return cls.load(folder, model)


def require_depths(wanted: Iterable[int], depths: Iterable[int]) -> None:
    """Raise HeadsError where a wanted depth is none of those at which there are heads."""
    there = list(depths)
    if missing := [depth for depth in wanted if depth not in there]:
        raise HeadsError(
            f"no head at depth {', '.join(map(str, missing))}: heads exist at {there}; train one "
            "with adadecode-train"
        )


def check_depths(depths: Iterable[int], n_layers: int) -> None:
    """Raise HeadsError where a depth is not one between the layers of a model."""
    if odd := [depth for depth in depths if not 1 <= depth < n_layers]:
        raise HeadsError(
            f"a head lies at a depth 1..{n_layers - 1} of this model, got {odd[0]}: choose one of "
            "these"
        )


def _check_model(model: PreTrainedModel | None) -> None:
    """Raise HeadsError for what is no model with an LM head."""
    if not isinstance(model, nn.Module) or not hasattr(model, "get_output_embeddings"):
        raise HeadsError(
            "wanted model as the causal LM of transformers that the heads belong to, got a "
            f"{type(model).__name__}: load it first"
        )
    if model.get_output_embeddings() is None:  # type: ignore[operator]
        raise HeadsError(
            f"wanted a model with an LM head, got a {type(model).__name__}, which has none: load "
            "it with AutoModelForCausalLM"
        )


def _folder(path: str | PathLike[str]) -> Path:
    """Return a folder as a path."""
    if not isinstance(path, (str, PathLike)):
        raise HeadsError(
            f"wanted the folder of heads as a path, got a {type(path).__name__}: give its name"
        )
    return Path(path)


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix in 32 bits or more, where those of 16 bits hold the same numbers."""
    return matrix.to(torch.promote_types(matrix.dtype, torch.float32))


def _depth(depth: SupportsIndex) -> int:
    """Return a depth as an int."""
    try:
        if not isinstance(depth, bool):
            return operator.index(depth)
    except TypeError:
        pass
    raise HeadsError(f"wanted the depth of a head as a whole number, got {depth!r}: give an int")


def _checked_transforms(
    transforms: Mapping[int, torch.Tensor | None], n_layers: int, width: int
) -> dict[int, torch.Tensor | None]:
    """Return the matrices by depth, shallowest first.

    Args:
        transforms: By depth the matrix T; None for the identity.
        n_layers: Layers of the model.
        width: The width d of what its LM head takes.

    Raises:
        HeadsError: A depth or a matrix does not go with the model.
    """
    if not isinstance(transforms, Mapping):
        raise HeadsError(
            "wanted the matrices of heads by depth, {depth: matrix or None}, got a "
            f"{type(transforms).__name__}: give a dict"
        )
    matrices = {_depth(depth): matrix for depth, matrix in transforms.items()}
    check_depths(matrices, n_layers)
    for depth, matrix in matrices.items():
        if matrix is not None and not isinstance(matrix, torch.Tensor):
            raise HeadsError(
                f"wanted the head at depth {depth} as a tensor or None, got a "
                f"{type(matrix).__name__}: give a matrix ({width}, {width})"
            )
        if matrix is not None and tuple(matrix.shape) != (width, width):
            raise HeadsError(
                f"the head at depth {depth} is {tuple(matrix.shape)}, wanted ({width}, {width}): "
                "it belongs to another model"
            )
    return dict(sorted(matrices.items()))


def _checked_tokens(frequent: Sequence[int], vocabulary: int) -> tuple[int, ...]:
    """Return token ids that are this model's, each once. Raises HeadsError for any others."""
    try:
        tokens = tuple(map(operator.index, frequent))
    except TypeError:
        tokens = (-1,)
    if len(set(tokens)) < len(tokens) or any(not 0 <= token < vocabulary for token in tokens):
        raise HeadsError(
            f"frequent tokens are ids 0..{vocabulary - 1} of this model, each once: they were "
            "counted with another tokenizer"
        )
    return tokens


def _shortlist(ranked: TokenRanking, size: int) -> tuple[int, ...]:
    """Return the most frequent tokens, by rising id. Raises HeadsError where those are all."""
    if size >= ranked.vocabulary:
        raise HeadsError(
            f"a shortlist of {size} tokens leaves out none of the {ranked.vocabulary} of this "
            "model: take fewer, or no shortlist"
        )
    return tuple(sorted(ranked.shortlist(size)))


def _quantised_rest(matrix: torch.Tensor, device: torch.device) -> Int8Matrix:
    """Return T - I in int8: T is nearly the identity, so that the rest is what is quantised."""
    return Int8Matrix(matrix.to(device, torch.float32) - torch.eye(len(matrix), device=device))

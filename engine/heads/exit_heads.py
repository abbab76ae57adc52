"""Exit heads: E* (T norm(h)), the model's own LM head E* and final norm behind a square matrix T per depth (paper, section 2.2).

A head of an 8B model reads as much as 2.4 layers. Cheaper forms of the same heads (`adadecode.sim.core.head_form.HeadForm`) take some rows of E* alone, or read T and E* in
int8. Drafts are verified as before, so no form changes a text. With a shortlist a head's confidence is the probability *within* the shortlist: never
less than the whole softmax has, and it may be near 1 where the shortlist as a whole is unlikely, so a gamma means less than it does of a full head.
"""

from __future__ import annotations

import json
import math
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from adadecode.engine.heads.int8 import Int8Matrix
from adadecode.engine.heads.lm_head_rows import HeadRows
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime import fingerprints
from adadecode.engine.runtime.distributed import whole
from adadecode.profiles.errors import HeadsError
from adadecode.sim.core.head_form import FULL, HeadForm

WEIGHTS, CONFIG = "heads.safetensors", "heads.json"
FORMAT = 2
_SAMPLES = 32


def signature(model: PreTrainedModel) -> list[float]:
    """A few weights of the model's LM head: enough to tell one model's heads from another's, whatever the dtype."""
    weight = whole(model.get_output_embeddings().weight.detach()).flatten()
    picked = torch.linspace(0, weight.numel() - 1, _SAMPLES, dtype=torch.float64).long()
    return [float(x) for x in weight[picked.to(weight.device)].float().cpu()]


def body(model: PreTrainedModel) -> list[float]:
    """A few weights from all over the model, evenly spaced in the order of its parameters: models may share an LM head and nothing else.

    Of a model with packed weights, none: they cannot be compared with those that the heads were trained on.
    """
    if getattr(model, "is_quantized", False):
        return []
    weights = list(model.parameters())
    ends = list(accumulate(weight.numel() for weight in weights))
    spots = [k * (ends[-1] - 1) // (_SAMPLES - 1) for k in range(_SAMPLES)]
    owners = [bisect_right(ends, spot) for spot in spots]
    return [
        float(whole(weights[i].detach()).flatten()[spot - ends[i]].float())
        for i, spot in zip(owners, spots, strict=True)
    ]


def _fits(config: dict[str, Any], name: str, own: list[float]) -> bool:
    """Whether stored samples are the model's ``own``, whatever the dtypes of the two. Raises ValueError where they are no such samples."""
    found = config[name]
    if not (
        isinstance(found, list)
        and len(found) == _SAMPLES
        and all(isinstance(x, (int, float)) and math.isfinite(x) for x in found)
    ):
        raise ValueError(f"wanted {_SAMPLES} numbers as {name} in {CONFIG}")
    stored, present = (torch.tensor(numbers, dtype=torch.float64) for numbers in (found, own))
    return torch.allclose(stored, present, rtol=2e-2, atol=1e-4)


def _checked(frequent: Sequence[int], vocabulary: int) -> tuple[int, ...]:
    """Token ids, each once. Raises HeadsError."""
    tokens = tuple(map(int, frequent))
    if len(set(tokens)) < len(tokens) or any(not 0 <= token < vocabulary for token in tokens):
        raise HeadsError(
            f"frequent tokens are ids 0..{vocabulary - 1} of this model, each once: they were counted with another tokenizer"
        )
    return tokens


def _shortlist(frequent: Sequence[int], size: int, vocabulary: int) -> tuple[int, ...]:
    """The most frequent tokens, by rising id. Raises HeadsError."""
    if not frequent:
        raise HeadsError(
            "nobody counted which tokens are frequent: train heads with adadecode-train, or name a text with --shortlist-from"
        )
    if size >= vocabulary:
        raise HeadsError(
            f"a shortlist of {size} tokens leaves out none of the {vocabulary} of this model: take fewer, or no shortlist"
        )
    return tuple(sorted(frequent[:size]))


class ExitHeads(ModelHubMixin, library_name="adadecode"):
    """The trained matrices of one model, by depth. transforms: depth -> T (d, d), None for the identity.

    form: what of the LM head they use, and in which format; one that no product of the device reads falls back to the model's own, with a warning. frequent: token
    ids, the most frequent first, of which a shortlist is the beginning; where there are fewer than the form asks for, it is as long as they. coverage: what the
    form loses (`adadecode.engine.evaluation.head_coverage`), where training measured it.

    ``push_to_hub`` and ``ExitHeads.from_pretrained(repo, model=model)`` share them. Raises HeadsError.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        transforms: dict[int, torch.Tensor | None],
        metrics: list[dict[str, Any]] | None = None,
        *,
        form: HeadForm = FULL,
        frequent: Sequence[int] = (),
    ) -> None:
        config = model.config.get_text_config()
        self.transforms = dict(sorted(transforms.items()))
        self.metrics = metrics or []
        self.coverage: dict[str, Any] | None = None
        self.about = {
            "model_type": config.model_type,
            "n_layers": config.num_hidden_layers,
            "hidden_size": config.hidden_size,
            "vocab_size": config.vocab_size,
        }
        self.signature, self.body = signature(model), body(model)
        width = model.get_output_embeddings().weight.shape[1]  # of what the LM head takes
        for depth, matrix in self.transforms.items():
            if not 1 <= depth < config.num_hidden_layers:
                raise HeadsError(
                    f"a head lies at a depth 1..{config.num_hidden_layers - 1} of this model, got {depth}"
                )
            if matrix is not None and tuple(matrix.shape) != (width, width):
                raise HeadsError(
                    f"the head at depth {depth} is {tuple(matrix.shape)}, wanted ({width}, {width}): it belongs to another model"
                )
        weight = model.get_output_embeddings().weight
        self._matrices: dict[int, torch.Tensor | Int8Matrix | None] = {
            d: None if m is None else m.to(weight.device, next(model.parameters()).dtype)
            for d, m in self.transforms.items()
        }
        self.frequent = _checked(frequent, len(weight))
        self.tokens = (
            None
            if form.shortlist is None
            else _shortlist(self.frequent, form.shortlist, len(weight))
        )
        self.form = HeadForm(
            shortlist=None if self.tokens is None else len(self.tokens), dtype=form.dtype
        )
        self._rows: HeadRows | None = None
        self._take_form(model.get_output_embeddings())

    def _take_form(self, head: torch.nn.Module) -> None:
        """Gather and quantise what the form asks for."""
        if self.form.dtype is not None:
            try:
                rows = HeadRows(head, self.tokens, int8=True)
                matrices: dict[int, Int8Matrix] = {}
                for depth, matrix in self.transforms.items():
                    if (
                        matrix is not None
                    ):  # T is nearly the identity, so what is quantised is the rest
                        rest = matrix.to(head.weight.device, torch.float32) - torch.eye(
                            len(matrix), device=head.weight.device
                        )  # type: ignore[arg-type]
                        matrices[depth] = Int8Matrix(rest)
            except LookupError as error:
                warnings.warn(
                    f"no int8 heads on this device ({error}): they stay in the model's own format",
                    stacklevel=4,
                )
                self.form = HeadForm(shortlist=self.form.shortlist)
            else:
                self._rows = rows
                self._matrices |= matrices
        if self.tokens is not None and self._rows is None:
            self._rows = HeadRows(head, self.tokens, int8=False)

    def shaped(
        self,
        model: PreTrainedModel,
        *,
        shortlist: int | None = None,
        dtype: str | None = None,
        frequent: Sequence[int] | None = None,
    ) -> ExitHeads:
        """The same heads in another form; arguments as of `HeadForm`, ``frequent`` as it was by default. Raises HeadsError."""
        form = HeadForm(shortlist=shortlist, dtype=dtype)
        known = self.frequent if frequent is None else frequent
        return ExitHeads(model, self.transforms, self.metrics, form=form, frequent=known)

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths that have a head, shallowest first."""
        return tuple(self.transforms)

    @classmethod
    def identity(cls, model: PreTrainedModel, depths: Sequence[int]) -> ExitHeads:
        """The model's own LM head at each depth, T = I (the paper's ablation: "original LM head as the early head")."""
        return cls(model, dict.fromkeys((int(d) for d in depths), None))

    def apply(self, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """T norm(h): normed (..., d) -> (..., d); the LM head comes after."""
        matrix = self._matrices[depth]
        if matrix is None:
            return normed
        return (
            normed + matrix(normed).to(normed.dtype)
            if isinstance(matrix, Int8Matrix)
            else normed.to(matrix.device) @ matrix.T
        )

    def logits(self, parts: SegmentedModel, depth: int, normed: torch.Tensor) -> torch.Tensor:
        """What the head at ``depth`` says: logits (1, n, V) in FP32 from normed (1, n, d); minus infinity for tokens outside its shortlist."""
        given = self.apply(depth, normed)
        return (
            parts.unembed(given) if self._rows is None else self._rows.logits(given, parts.finish)
        )

    @property
    def product(self) -> str | None:
        """What multiplies int8, a name of `adadecode.engine.heads.int8.PRODUCTS`; None for other forms."""
        return (
            self._rows.matrix.product
            if self._rows is not None and isinstance(self._rows.matrix, Int8Matrix)
            else None
        )

    def describe(self) -> dict[str, Any]:
        """The form, for a manifest."""
        return {
            **self.form.to_dict(),
            "product": self.product,
            "tokens": None if self.tokens is None else list(self.tokens),
        }

    def digest(self) -> str:
        """A fingerprint of the matrices, and of the form where it is not the full one."""
        matrices = fingerprints.of_tensors(
            (str(depth), matrix) for depth, matrix in self.transforms.items()
        )
        return matrices if self.form.is_full else fingerprints.of_json([matrices, self.describe()])

    def require(self, depths: Sequence[int]) -> None:
        """Raises HeadsError where a depth has no head."""
        missing = [d for d in depths if d not in self.transforms]
        if missing:
            raise HeadsError(
                f"no head at depth {', '.join(map(str, missing))}: heads exist at {list(self.depths)}; train one with adadecode-train"
            )

    # -- files ---------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write ``heads.safetensors`` (16-bit, whatever the form) and ``heads.json`` into the folder ``path``."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"depth.{d}": m.detach().to("cpu", torch.float16).contiguous()
            for d, m in self.transforms.items()
            if m is not None
        }
        config = {
            "format": FORMAT,
            "depths": list(self.depths),
            "identity": [d for d, m in self.transforms.items() if m is None],
        }
        if self.frequent:
            tensors["frequent"] = torch.tensor(self.frequent, dtype=torch.int32)
        config |= {
            "form": self.form.to_dict(),
            "model": self.about,
            "signature": self.signature,
            "metrics": self.metrics,
            "coverage": self.coverage,
        }
        if self.body:
            config["body"] = self.body
        for name, write in (
            (WEIGHTS, lambda p: save_file(tensors, p)),
            (CONFIG, lambda p: p.write_text(json.dumps(config, indent=1) + "\n")),
        ):
            partial = folder / f"{name}.part"
            write(partial)
            partial.chmod(0o644)  # safetensors leaves it to its owner alone
            partial.replace(folder / name)

    @classmethod
    def load(cls, path: str | Path, model: PreTrainedModel) -> ExitHeads:
        """Heads from the folder ``path``, checked to be this model's. Raises HeadsError."""
        folder = Path(path)
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS)
            return cls._checked(folder, config, tensors, model)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise HeadsError(
                f"no heads in {folder}: wanted the files {WEIGHTS} and {CONFIG} that adadecode-train writes ({error})"
            ) from error
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            SafetensorError,
        ) as error:
            raise HeadsError(
                f"the heads in {folder} are damaged ({type(error).__name__}: {error}): copy or train them again"
            ) from error

    @classmethod
    def _checked(
        cls,
        folder: Path,
        config: dict[str, Any],
        tensors: dict[str, torch.Tensor],
        model: PreTrainedModel,
    ) -> ExitHeads:
        """Heads from what the files hold, once they are known to be whole and this model's."""
        if int(config["format"]) > FORMAT:
            raise HeadsError(
                f"the heads in {folder} have format {config['format']}, this program reads up to {FORMAT}: upgrade it"
            )
        own = model.config.get_text_config()
        about = config["model"]
        for key, value in (
            ("hidden_size", own.hidden_size),
            ("n_layers", own.num_hidden_layers),
            ("vocab_size", own.vocab_size),
        ):
            if about[key] != value:
                raise HeadsError(
                    f"the heads in {folder} belong to another model: their {key} is {about[key]}, this model's {value}"
                )
        samples = [("signature", signature, "LM head has")]
        if "body" in config and body(model):  # absent from the oldest files
            samples.append(("body", body, "layers have"))
        for name, sample, what in samples:
            if not _fits(config, name, sample(model)):
                raise HeadsError(
                    f"the heads in {folder} belong to another model of the same shape: its {what} other weights; train heads for this one"
                )
        depths, identity = [int(d) for d in config["depths"]], set(config["identity"])
        if missing := [d for d in depths if d not in identity and f"depth.{d}" not in tensors]:
            raise HeadsError(
                f"the heads in {folder} are damaged: depths {missing} are listed, but have no weights; copy or train them again"
            )
        frequent = (
            tensors.pop("frequent", torch.zeros(0)).flatten().long().tolist()
        )  # absent before format 2, as is the form
        form = HeadForm(**config.get("form", {}))
        if absurd := [name for name, matrix in tensors.items() if not matrix.isfinite().all()]:
            raise HeadsError(
                f"the heads in {folder} are damaged: {absurd[0]} holds numbers that are not finite; copy or train them again"
            )
        transforms = {d: None if d in identity else tensors[f"depth.{d}"].float() for d in depths}
        heads = cls(model, transforms, config.get("metrics"), form=form, frequent=frequent)
        heads.coverage = config.get("coverage")
        return heads

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, model: PreTrainedModel, **options: Any
    ) -> ExitHeads:  # type: ignore[override]
        if Path(model_id).is_dir():
            return cls.load(model_id, model)
        known = {
            k: options[k]
            for k in ("revision", "cache_dir", "force_download", "local_files_only", "token")
            if k in options
        }
        try:
            folder = snapshot_download(model_id, allow_patterns=[WEIGHTS, CONFIG], **known)
        except (OSError, ValueError) as error:
            raise HeadsError(
                f"no heads {model_id!r}: neither a folder here nor to be had from the hub ({type(error).__name__}: {error})"
            ) from error
        return cls.load(folder, model)

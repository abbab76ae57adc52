"""Exit heads: what they compute, their files, and every way in which files can be wrong."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.heads_description import CONFIG
from adadecode.engine.heads.heads_file import WEIGHTS
from adadecode.engine.heads.model_samples import body_samples
from adadecode.profiles.errors import HeadsError, InputError
from tests.support.heads_files import as_format, edit_description
from tests.support.models import tiny_model
from tests.support.paths import ROOT

DEPTHS = (2, 4)
WIDTH = 64


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)


@pytest.fixture
def heads(model: PreTrainedModel) -> ExitHeads:
    generator = torch.Generator().manual_seed(0)
    matrices = {
        depth: torch.eye(WIDTH) + torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH
        for depth in DEPTHS
    }
    return ExitHeads(model, {3: None, **matrices}, [{"depth": 2, "kl": 0.5}])


@pytest.fixture
def folder(heads: ExitHeads, tmp_path: Path) -> Path:
    heads.save(tmp_path / "heads")
    return tmp_path / "heads"


def edited(folder: Path, **changes: object) -> None:
    """Change fields of the description, and seal it again where JSON can carry them."""
    seal = all(math.isfinite(x) for value in changes.values() for x in _floats(value))
    edit_description(folder, lambda found: found.update(changes), seal=seal)


def _floats(value: object) -> list[float]:
    return [x for x in value if isinstance(x, float)] if isinstance(value, list) else []


def test_an_identity_head_passes_its_input_on(model: PreTrainedModel) -> None:
    """T = I: what the LM head is given is the normed hidden state itself."""
    normed = torch.randn(1, 3, WIDTH)
    assert ExitHeads.identity(model, [3]).apply(3, normed) is normed


def test_a_head_is_a_matrix_times_the_hidden_state(heads: ExitHeads) -> None:
    """Every row of the result is T norm(h)."""
    matrix = heads.transforms[2]
    assert matrix is not None
    normed = torch.randn(1, 3, WIDTH)
    torch.testing.assert_close(heads.apply(2, normed)[0, 1], matrix @ normed[0, 1])


def test_depths_are_shallowest_first(heads: ExitHeads) -> None:
    """The order in which they were given does not matter."""
    assert heads.depths == (2, 3, 4)


def test_saved_heads_come_back_in_16_bit(
    heads: ExitHeads, folder: Path, model: PreTrainedModel
) -> None:
    """Depths, matrices as rounded to FP16, identities and metrics."""
    loaded = ExitHeads.load(folder, model)
    assert loaded.depths == heads.depths
    assert loaded.transforms[3] is None
    assert loaded.metrics == heads.metrics
    for depth in DEPTHS:
        assert torch.equal(loaded.transforms[depth], heads.transforms[depth].half().float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_heads_fit_the_same_model_in_another_dtype(
    folder: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    """The model is known by its weights, to BF16's precision, whatever dtype the heads are from."""
    other = tiny_model("llama", torch.float32).to(dtype)
    loaded = ExitHeads.load(folder, other)
    assert loaded.apply(2, torch.zeros(1, 1, WIDTH, dtype=dtype)).dtype == dtype
    loaded.save(tmp_path / "again")
    assert (
        ExitHeads.load(tmp_path / "again", tiny_model("llama", torch.float32)).depths
        == loaded.depths
    )


def test_saving_leaves_no_partial_file(folder: Path) -> None:
    """Each file is written whole under another name, then renamed."""
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, WEIGHTS])


def test_the_hub_mixin_shares_heads_by_folder(
    heads: ExitHeads, tmp_path: Path, model: PreTrainedModel
) -> None:
    """``save_pretrained`` and ``from_pretrained`` round-trip without a network."""
    heads.save_pretrained(tmp_path / "shared")
    loaded = ExitHeads.from_pretrained(str(tmp_path / "shared"), model=model)
    assert loaded.depths == heads.depths
    assert torch.equal(loaded.transforms[2], heads.transforms[2].half().float())


def test_another_model_of_the_same_shape_is_refused(folder: Path) -> None:
    """Its LM head has other weights."""
    with pytest.raises(HeadsError, match="another model of the same shape"):
        ExitHeads.load(folder, tiny_model("llama", torch.float32, seed=1))


def changed_below(model: PreTrainedModel) -> PreTrainedModel:
    """The model with all weights changed but the LM head's."""
    other = copy.deepcopy(model)
    head = other.get_output_embeddings().weight
    with torch.no_grad():
        for weight in other.parameters():
            if weight is not head:
                weight.mul_(-1.5)
    return other


def test_another_model_with_the_same_lm_head_is_refused(
    folder: Path, model: PreTrainedModel
) -> None:
    """It is told by samples of all its weights."""
    with pytest.raises(
        HeadsError, match="another model of the same shape: its layers have other weights"
    ):
        ExitHeads.load(folder, changed_below(model))


@pytest.mark.filterwarnings("ignore:the heads in .* were saved by an earlier version")
def test_heads_saved_without_samples_of_the_body_stay_readable(
    folder: Path, model: PreTrainedModel
) -> None:
    """They are told by the LM head alone."""
    as_format(folder, 2, without=("body",))
    assert ExitHeads.load(folder, model).depths == (2, 3, 4)
    assert ExitHeads.load(folder, changed_below(model)).depths == (2, 3, 4)


def test_samples_of_the_body_reach_every_layer(model: PreTrainedModel) -> None:
    """Any one layer changed is noticed."""
    for number in range(model.config.num_hidden_layers):
        other = copy.deepcopy(model)
        with torch.no_grad():
            for name, weight in other.named_parameters():
                if f".{number}." in name:
                    weight.add_(1.0)
        assert body_samples(other) != body_samples(model)


def test_the_shipped_heads_fit_the_shipped_model() -> None:
    """In the precision it is saved in, and in those it is loaded in."""
    folder = ROOT / "engine" / "demo" / "model"
    for dtype in (torch.float32, torch.bfloat16):
        own = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        assert ExitHeads.load(folder, own).depths


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_size": 32}, "hidden_size is 64, this model's 32"),
        ({"num_hidden_layers": 5}, "n_layers is 6, this model's 5"),
        ({"vocab_size": 50}, "vocab_size is 97, this model's 50"),
    ],
)
def test_a_model_of_another_shape_is_refused(
    folder: Path, config: dict[str, int], message: str
) -> None:
    """The message names what differs."""
    with pytest.raises(HeadsError, match=message):
        ExitHeads.load(folder, tiny_model("llama", torch.float32, **config))


NOT_SAMPLES = (
    [],
    [0.5],
    [0.5] * 31,
    [0.5] * 33,
    0.5,
    None,
    "x",
    {},
    [[0.5]] * 32,
    ["x"] * 32,
    [None] * 32,
    [10**400] * 32,
    [math.nan] * 32,
)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "no heads in .* heads.safetensors is missing"),
        (lambda folder: (folder / CONFIG).unlink(), "no heads in .* heads.json is missing"),
        (lambda folder: (folder / CONFIG).write_text("{"), "wanted JSON in"),
        (lambda folder: (folder / CONFIG).write_text("{}"), "wanted a whole number as format"),
        (lambda folder: (folder / CONFIG).write_text("3"), "damaged, it holds no object"),
        (lambda folder: (folder / CONFIG).write_text("[" * 100_000), "nested too deeply"),
        (lambda folder: (folder / CONFIG).write_bytes(b"\xff{}"), "wanted text in UTF-8"),
        *(
            (partial(edited, **{key: value}), f"wanted 32 finite numbers as {key}|JSON cannot")
            for key in ("signature", "body")
            for value in NOT_SAMPLES
        ),
        (lambda folder: edited(folder, depths=[float("inf")]), "JSON cannot carry"),
    ],
)
def test_damaged_files_are_refused(
    folder: Path, model: PreTrainedModel, damage: Callable[[Path], None], message: str
) -> None:
    """Incomplete, missing or malformed files each have their sentence."""
    damage(folder)
    with pytest.raises(HeadsError, match=message):
        ExitHeads.load(folder, model)


def test_a_folder_without_heads_names_both_files(tmp_path: Path, model: PreTrainedModel) -> None:
    with pytest.raises(HeadsError, match=r"heads\.json and heads\.safetensors are missing"):
        ExitHeads.load(tmp_path, model)


@pytest.mark.parametrize("depth", [0, 6, -1])
def test_a_head_lies_between_the_layers(model: PreTrainedModel, depth: int) -> None:
    """Before the first layer and after the last there is none."""
    with pytest.raises(HeadsError, match=r"1\.\.5"):
        ExitHeads.identity(model, [depth])


def test_a_depth_without_a_head_is_named(heads: ExitHeads) -> None:
    """With the depths that have one, and how to get one."""
    with pytest.raises(
        HeadsError, match=r"no head at depth 5: heads exist at \[2, 3, 4\]; train one"
    ):
        heads.require([2, 5])


# ---- what Python may ask for ----


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ("24", "wanted the depths of heads as a list of whole numbers, got '24'"),
        (3, "wanted the depths of heads as a list of whole numbers, got 3"),
        ([2.5], r"wanted the depth of a head as a whole number, got 2\.5: give an int"),
        ([True], "wanted the depth of a head as a whole number, got True"),
    ],
)
def test_what_are_no_depths_is_refused(model: PreTrainedModel, depths: Any, message: str) -> None:
    with pytest.raises(HeadsError, match=message):
        ExitHeads.identity(model, depths)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([2], r"wanted the matrices of heads by depth, .* got a list: give a dict"),
        ({"2": None}, "wanted the depth of a head as a whole number, got '2'"),
        ({2: "T"}, r"wanted the head at depth 2 as a tensor or None, got a str: give a matrix"),
    ],
)
def test_what_are_no_matrices_is_refused(
    model: PreTrainedModel, transforms: Any, message: str
) -> None:
    with pytest.raises(HeadsError, match=message):
        ExitHeads(model, transforms)


def test_depths_of_any_kind_of_integer_are_taken(model: PreTrainedModel) -> None:
    assert ExitHeads.identity(model, torch.tensor([4, 2])).depths == (2, 4)


@pytest.mark.parametrize("tokens", [["a"], [0.5], [1, 1], [97]])
def test_what_are_no_tokens_is_refused(model: PreTrainedModel, tokens: Any) -> None:
    with pytest.raises(HeadsError, match=r"frequent tokens are ids 0\.\.96 of this model"):
        ExitHeads(model, {2: None}, frequent=tokens)


def test_what_is_no_folder_or_no_model_is_refused(folder: Path, model: PreTrainedModel) -> None:
    """By ``load`` and by ``from_pretrained``, before a file is read."""
    with pytest.raises(HeadsError, match="wanted the folder of heads as a path, got a int"):
        ExitHeads.load(3, model)  # type: ignore[arg-type]
    with pytest.raises(HeadsError, match=r"wanted model as the causal LM .* got a str: load it"):
        ExitHeads.load(folder, "llama")  # type: ignore[arg-type]
    with pytest.raises(HeadsError, match=r"wanted model as the causal LM .* got a NoneType"):
        ExitHeads.from_pretrained(str(folder))
    with pytest.raises(HeadsError, match="LlamaModel, which has none: load it with AutoModelFor"):
        ExitHeads.load(folder, model.model)


def test_a_folder_that_cannot_be_written_is_an_input_error(
    heads: ExitHeads, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "heads"):
        with pytest.raises(InputError, match=r"file is a file\): name another place"):
            heads.save(path)
    assert (tmp_path / "file").read_text() == "mine"

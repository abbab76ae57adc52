"""The files of exit heads: whole or refused, whatever was changed in them and by whom."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine.demo import MODEL
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.heads_description import CONFIG
from adadecode.engine.heads.heads_file import OF_GATES, OF_MATRICES, WEIGHTS, Bound, check_numbers
from adadecode.profiles.errors import HeadsError, InputError
from tests.support.failing_disk import Fault, failing_disk, states_of, steps_of
from tests.support.heads_files import as_format, edit_description, replace_tensors, same_matrices
from tests.support.models import tiny_model

WIDTH = 64


def heads_of(model: PreTrainedModel, seed: int = 0) -> ExitHeads:
    """Matrices at depths 2 and 4, the identity at 3, and counted tokens."""
    generator = torch.Generator().manual_seed(seed)
    matrices = {
        depth: torch.eye(WIDTH) + torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH
        for depth in (2, 4)
    }
    rows = [{"depth": 2, "kl": 0.5}]
    return ExitHeads(model, {3: None, **matrices}, rows, frequent=(5, 3, 8))


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)


@pytest.fixture(scope="module")
def saved(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    heads_of(model).save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "heads"))


def is_refused(folder: Path, model: PreTrainedModel) -> bool:
    with pytest.raises(HeadsError) as refusal:
        ExitHeads.load(folder, model)
    return "\n" not in str(refusal.value)


# ---- what happens to files by itself ----


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_flipped_bit_is_noticed(folder: Path, model: PreTrainedModel, name: str) -> None:
    """Anywhere in either file: in the header, in a matrix, in a sample, in the seal."""
    path, draw = folder / name, random.Random(0)
    whole = path.read_bytes()
    places = [*range(8), *(draw.randrange(len(whole)) for _ in range(120))]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        if name == CONFIG and _says_the_same(bytes(changed), whole):
            continue
        assert is_refused(folder, model), place
    path.write_bytes(whole)
    assert ExitHeads.load(folder, model).depths == (2, 3, 4)


def _says_the_same(changed: bytes, whole: bytes) -> bool:
    """Whether a change of a space, or of the last digit of a number, is none of the value."""
    try:
        return bool(json.loads(changed) == json.loads(whole))
    except ValueError:
        return False


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_torn_file_is_noticed(
    folder: Path, model: PreTrainedModel, name: str, share: float
) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(share * len(data))])
    assert is_refused(folder, model)


def test_a_zeroed_matrix_is_noticed(folder: Path, model: PreTrainedModel) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-2 * WIDTH * WIDTH :] = bytes(2 * WIDTH * WIDTH)
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(HeadsError, match=r"its numbers are not those that heads\.json describes"):
        ExitHeads.load(folder, model)


def test_matrices_of_another_training_are_noticed(
    folder: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    """Of the same model, at the same depths."""
    heads_of(model, seed=1).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / WEIGHTS, folder / WEIGHTS)
    assert is_refused(folder, model)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (2**62, "damaged"),
        (10**8, "damaged"),
        (0, "damaged"),
    ],
)
def test_a_header_of_absurd_length_is_refused(
    folder: Path, model: PreTrainedModel, header: int, message: str
) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(header.to_bytes(8, "little") + data[8:])
    with pytest.raises(HeadsError, match=message):
        ExitHeads.load(folder, model)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_file_of_absurd_size_is_not_read(folder: Path, model: PreTrainedModel, name: str) -> None:
    """Mostly a hole, it takes no room on the disk."""
    with (folder / name).open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(HeadsError, match="wanted a file of at most"):
        ExitHeads.load(folder, model)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_refused_and_not_waited_for(
    folder: Path, model: PreTrainedModel, name: str, kind: str
) -> None:
    path = folder / name
    path.unlink()
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir}.get(
        kind, lambda: path.symlink_to("/dev/zero")
    )()
    with pytest.raises(HeadsError, match=r"wanted a (regular )?file, got the"):
        ExitHeads.load(folder, model)


# ---- files of earlier versions ----


@pytest.mark.parametrize(
    ("version", "without"), [(2, ()), (2, ("body",)), (1, ("form", "coverage", "body"))]
)
def test_heads_without_digests_are_read_with_a_warning(
    folder: Path, model: PreTrainedModel, version: int, without: tuple[str, ...]
) -> None:
    """It says once what was checked; saved again, they have digests."""
    whole = ExitHeads.load(folder, model)
    as_format(folder, version, without=without)
    with pytest.warns(UserWarning, match=r"without digests: their layout was checked") as warned:
        loaded = ExitHeads.load(folder, model)
    assert len(warned) == 1
    assert same_matrices(loaded.transforms, whole.transforms)
    loaded.save(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert same_matrices(ExitHeads.load(folder, model).transforms, whole.transforms)


def test_a_seal_is_checked_whatever_the_format_claims(folder: Path, model: PreTrainedModel) -> None:
    """A format that is one bit from the present one does not switch the check off."""
    edit_description(folder, lambda found: found.update(format=2), seal=False)
    with pytest.raises(HeadsError, match=r"heads\.json was edited"):
        ExitHeads.load(folder, model)


def test_a_missing_seal_is_an_edit(folder: Path, model: PreTrainedModel) -> None:
    edit_description(folder, lambda found: found.pop("digest"), seal=False)
    with pytest.raises(HeadsError, match=r"heads\.json was edited"):
        ExitHeads.load(folder, model)


def test_the_bundled_heads_have_digests() -> None:
    description = json.loads((MODEL / CONFIG).read_text())
    assert {"digest", "sha256"} <= description.keys()


# ---- what somebody edits and seals again ----


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of a field, which may lie in another one (``model.n_layers``)."""

    def change(found: dict[str, Any]) -> None:
        *way, last = key.split(".")
        for step in way:
            found = found[step]
        found[last] = value

    return change


COVERAGE = {"outputs": 9, "outside": 0.1, "depths": [2], "full": [1], "formed": [1], "same": [1]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "3"),
        ("format", True),
        ("format", None),
        ("format", 0),
        *(("depths", value) for value in (None, 3, "234", [2.0, 3, 4], [True, 3], [[2]], {"2": 1})),
        *(("depths", value) for value in ([2, 2, 3, 4], [-2, 3, 4], [2, 3, 6], [2, 3, 10**30])),
        *(("identity", value) for value in (None, 3, ["3"], [5], [-3], [3, 3])),
        *(("form", value) for value in (None, [], "full", {"shortlist": -1}, {"shortlist": 1.5})),
        *(("form", value) for value in ({"shortlist": True}, {"dtype": "int3"}, {"dtype": 8})),
        *(("form", value) for value in ({"dtype": []}, {"rank": 4}, {"shortlist": 10**30})),
        *(("model", value) for value in (None, [], "llama", {})),
        *(("model.n_layers", value) for value in (None, 0, -1, "6", 6.0, True, 10**400)),
        *(("model.hidden_size", value) for value in (None, [64], 0)),
        *(("metrics", value) for value in (3, {}, ["x"], [[1]], [{"kl": "0.5"}], [{"kl": None}])),
        *(("coverage", value) for value in (3, [], {}, COVERAGE | {"outputs": 0})),
        *(("coverage", value) for value in (COVERAGE | {"same": [1, 1]}, COVERAGE | {"full": "x"})),
        *(("sha256", value) for value in (None, 0, "", "0" * 64)),
    ],
)
def test_sealed_nonsense_is_refused_in_a_sentence(
    folder: Path, model: PreTrainedModel, key: str, value: Any
) -> None:
    edit_description(folder, put(key, value))
    assert is_refused(folder, model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda all_: all_.pop("depth.4"), r"depths \[4\] are listed, but have no weights"),
        (lambda all_: all_.update({"depth.5": torch.eye(WIDTH)}), "holds 'depth.5', which"),
        (lambda all_: all_.update({"depth.3": torch.eye(WIDTH)}), "holds 'depth.3', which"),
        (
            lambda all_: all_.update({"depth.4": torch.zeros(8, 8)}),
            r"depth 4 is \(8, 8\), wanted \(64, 64\)",
        ),
        (
            lambda all_: all_.update({"depth.4": torch.zeros(0, 0)}),
            r"depth 4 is \(0, 0\), wanted \(64, 64\)",
        ),
        (
            lambda all_: all_.update({"depth.4": torch.zeros(WIDTH * WIDTH)}),
            r"depth 4 is \(4096,\), wanted \(64, 64\)",
        ),
        (
            lambda all_: all_.update({"depth.4": torch.ones(WIDTH, WIDTH, dtype=torch.int8)}),
            r"wanted depth\.4 as numbers of 16 or 32 bits, got torch\.int8",
        ),
        (
            lambda all_: all_.update({"depth.4": torch.ones(WIDTH, WIDTH).to(torch.float8_e4m3fn)}),
            r"wanted depth\.4 as numbers of 16 or 32 bits, got torch\.float8_e4m3fn",
        ),
        (
            lambda all_: all_["depth.4"][3].fill_(float("nan")),
            r"depth\.4 holds numbers that are not finite",
        ),
        (
            lambda all_: all_["depth.2"][0, 0].fill_(float("inf")),
            r"depth\.2 holds numbers that are not finite",
        ),
        (
            lambda all_: all_["depth.2"][0, 0].fill_(1e4),
            r"depth\.2 holds 10000, wanted numbers of at most 1000, as a head is near the identity",
        ),
        (
            lambda all_: all_.update(frequent=torch.tensor([5.0, 3.0])),
            r"wanted frequent as a list of token ids, got torch\.float32 \(2,\)",
        ),
        (
            lambda all_: all_.update(frequent=torch.tensor([[5, 3]])),
            r"wanted frequent as a list of token ids, got torch\.int64 \(1, 2\)",
        ),
        (
            lambda all_: all_.update(frequent=torch.tensor([5, 97])),
            r"frequent tokens are ids 0\.\.96 of this model, each once",
        ),
        (
            lambda all_: all_.update(frequent=torch.tensor([-1])),
            r"frequent tokens are ids 0\.\.96 of this model, each once",
        ),
    ],
)
def test_sealed_tensors_that_are_no_heads_are_refused_in_a_sentence(
    folder: Path, model: PreTrainedModel, change: Any, message: str
) -> None:
    replace_tensors(folder, change)
    with pytest.raises(HeadsError, match=message):
        ExitHeads.load(folder, model)


@pytest.mark.parametrize("bound", [OF_MATRICES, OF_GATES, Bound(1000, "as somebody says")])
def test_a_number_beyond_its_bound_is_refused_for_the_reason_of_that_bound(bound: Bound) -> None:
    """Also where another bound is the same number."""
    within = {"some": torch.tensor([-bound.largest, 0.0])}
    check_numbers(within, bound, "the heads", "train them again")
    with pytest.raises(HeadsError, match=f"{bound.why}; "):
        check_numbers({"some": 2 * within["some"]}, bound, "the heads", "train them again")


def test_a_newer_format_is_named_before_its_seal_is_looked_at(
    folder: Path, model: PreTrainedModel
) -> None:
    edit_description(folder, lambda found: found.update(format=5), seal=False)
    with pytest.raises(HeadsError, match="format 5, this program reads up to 4: upgrade it"):
        ExitHeads.load(folder, model)


# ---- saving ----


@pytest.mark.parametrize("outcome", [errno.ENOSPC, errno.EIO])
def test_heads_are_whole_whenever_the_disk_fails(
    saved: Path, model: PreTrainedModel, tmp_path: Path, outcome: int
) -> None:
    """At any step of replacing them: the earlier ones or the new ones, and nothing beside them."""
    old, new = heads_of(model), heads_of(model, seed=1)
    steps = steps_of(tmp_path, lambda: new.save(shutil.copytree(saved, tmp_path / "whole")))
    for at in range(len(steps)):
        folder = Path(shutil.copytree(saved, tmp_path / str(at)))
        with failing_disk(folder, Fault(at=at, outcome=outcome)):
            refused = None
            try:
                new.save(folder)
            except InputError as error:
                refused = str(error)
        assert refused is None or "cannot write" in refused
        found, allowed = ExitHeads.load(folder, model), (new,) if refused is None else (old, new)
        assert any(same_in_16_bits(found, one) for one in allowed), at
        new.save(folder)
        assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]


def same_in_16_bits(loaded: ExitHeads, given: ExitHeads) -> bool:
    halves = {
        depth: None if matrix is None else matrix.half().float()
        for depth, matrix in given.transforms.items()
    }
    return same_matrices(loaded.transforms, halves)


def test_heads_are_whole_whenever_saving_is_killed(
    saved: Path, model: PreTrainedModel, tmp_path: Path
) -> None:
    """What stands on the disk before any step is what a kill there would leave."""
    folder, old, new = tmp_path / "heads", heads_of(model), heads_of(model, seed=1)
    shutil.copytree(saved, folder)
    states = states_of(folder, tmp_path / "states", lambda: new.save(folder))
    assert len(states) > 10
    for state in states:
        loaded = ExitHeads.load(state, model)
        assert any(same_in_16_bits(loaded, one) for one in (old, new)), state
        new.save(state)
        assert sorted(path.name for path in state.iterdir()) == [CONFIG, WEIGHTS]


def test_numbers_that_16_bits_cannot_hold_are_not_saved(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    """They would come back as infinity, and be refused then."""
    heads = ExitHeads(model, {2: torch.eye(WIDTH) * 1e5})
    with pytest.raises(HeadsError, match=r"depth\.2 holds numbers that are not finite"):
        heads.save(tmp_path / "heads")


def test_heads_that_share_a_matrix_can_be_saved(model: PreTrainedModel, tmp_path: Path) -> None:
    matrix = torch.eye(WIDTH, dtype=torch.float16)
    ExitHeads(model, {2: matrix, 4: matrix}).save(tmp_path)
    assert ExitHeads.load(tmp_path, model).depths == (2, 4)


# ---- fingerprints ----


def test_the_digest_of_heads_notices_every_number(model: PreTrainedModel) -> None:
    """The fingerprint of a few of them does not."""
    one, other = heads_of(model), heads_of(model)
    matrix = other.transforms[4]
    assert matrix is not None
    assert one.sha256() == other.sha256()
    matrix[13, 17] += 1e-3
    assert one.digest() == other.digest()
    assert one.sha256() != other.sha256()


def test_the_digest_of_heads_is_that_of_their_files(model: PreTrainedModel, folder: Path) -> None:
    """Numbers of 16 bits have the same digest in 32."""
    loaded = ExitHeads.load(folder, model)
    halves = {d: None if m is None else m.half() for d, m in loaded.transforms.items()}
    assert ExitHeads(model, halves).sha256() == loaded.sha256()

"""Sweeps that were edited, damaged or resealed are refused in one sentence, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from adadecode.profiles.digest import SEAL, sha256_hex
from adadecode.profiles.errors import ProfileError
from adadecode.sim.core.design import Policy
from adadecode.sim.sweep.plan import digest_of
from adadecode.sim.sweep.store import ABOUT, TABLE, Sweep, read_sweep
from adadecode.sim.sweep.table import NUMBERS
from tests.support.sim_command import run
from tests.support.sweeps import small_sweep
from tests.support.synthetic_profile import synthetic_profile
from tests.support.tampering import edit_designs, edit_sweep


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("original")
    profile = synthetic_profile(folder / "p", prompts=3)
    return small_sweep(folder / "s", profile, max_heads=2, caps=(3,))


@pytest.fixture
def folder(original: Sweep, tmp_path: Path) -> Path:
    assert original.path is not None
    return shutil.copytree(original.path, tmp_path / "sweep")


def refused(folder: Path) -> str:
    with pytest.raises(ProfileError) as error:
        read_sweep(folder)
    message = str(error.value)
    assert "\n" not in message
    return message


def column(name: str, change: Callable[[list[Any]], object]) -> Callable[[pa.Table], pa.Table]:
    """Return a change of the values of a column."""

    def edit(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        change(values)
        place = table.schema.get_field_index(name)
        return table.set_column(place, name, pa.array(values, table.schema.field(name).type))

    return edit


def setting(place: int, value: object) -> Callable[[list[Any]], object]:
    return lambda values: values.__setitem__(place, value)


def test_a_sweep_that_nobody_touched_is_read(folder: Path, original: Sweep) -> None:
    again = read_sweep(folder)
    assert again.about == original.about
    assert again.designs.equals(original.designs)


def test_an_edited_description_is_refused(folder: Path) -> None:
    edit_sweep(folder, lambda about: about["best"]["none"].update(speedup=500.0), seal=False)
    assert "sweep.json was edited: its digest is " in refused(folder)


def test_a_sweep_without_a_seal_is_to_be_swept_again(folder: Path) -> None:
    """As of the first versions of this program, and as of whoever takes the seal off."""
    edit_sweep(folder, lambda about: about.pop(SEAL), seal=False)
    assert refused(folder).endswith("(the first versions of this program wrote none): sweep again")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [float("inf"), -1.0, -1e300, 1e300])
def test_no_number_is_taken_that_cannot_be(folder: Path, name: str, value: float) -> None:
    """Every number is bounded, or bound to others, or at least finite and not negative."""
    edit_designs(folder, column(name, setting(5, value)))
    message = refused(folder)
    assert f" as {name} of " in message or f"got {value} as" in message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("speedup", 500.0, "wanted speedup within its interval"),
        ("speedup_low", 40.0, "wanted speedup within its interval 40 .. "),
        ("speedup_low", float("nan"), "both speedup_low and speedup_high or none"),
        ("tpot_s", float("nan"), "wanted a number above 0 of at most 1e.30, got nan as tpot_s"),
        (
            "tpot_high",
            1e-9,
            "wanted an end of the interval within 1000 times tpot_s|tpot_s within its interval",
        ),
        ("tokens_per_s", 1e9, "wanted 1 / tpot_s, got 1000000000.0 as tokens_per_s"),
        ("early_rate", 1.5, "wanted a share in 0..1, got 1.5 as early_rate"),
        ("fits", False, "contradicts itself|fits"),
        ("design", "adadecode 1 gamma 0.1", "wanted adadecode"),
        ("cap", 4, "to be one design in .*, got two"),
        ("device", "elsewhere", "on elsewhere not to be there, got it"),
    ],
)
def test_a_value_that_contradicts_the_others_is_refused(
    folder: Path, name: str, value: object, message: str
) -> None:
    """Though every digest was made to fit."""
    edit_designs(folder, column(name, setting(-1, value)))
    with pytest.raises(ProfileError, match=message):
        read_sweep(folder)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("policy", "genius", "is no design"),
        ("placement", [99, 100], "wanted adadecode 99/100 gamma .*, got 'adadecode 2/4"),
        ("placement", [3, 1], "is no design"),
        ("placement", [], "is no design"),
        ("gammas", [1.5, 0.5], "is no design"),
        ("gammas", [float("nan"), 0.5], "is no design"),
        ("cap", 0, "is no design"),
        ("cap", -(2**31), "is no design"),
        ("cap", 7, "cap 7 in "),
        ("verify", False, "unverified in "),
    ],
)
def test_what_is_no_design_or_has_another_label_is_refused(
    folder: Path, name: str, value: object, message: str
) -> None:
    def edit(table: pa.Table) -> pa.Table:
        labels = table["design"].to_pylist()
        for row in [place for place, label in enumerate(labels) if label == labels[-1]]:
            table = column(name, setting(row, value))(table)
        return table

    edit_designs(folder, edit)
    with pytest.raises(ProfileError, match=message):
        read_sweep(folder)


def test_a_front_that_the_rows_contradict_is_refused(folder: Path) -> None:
    edit_designs(folder, column("pareto", lambda values: setting(-1, not values[-1])(values)))
    assert "on the Pareto front of sheet, got it" in refused(folder)


def test_a_row_that_is_scaled_as_a_whole_is_refused(folder: Path) -> None:
    """All its figures agree with each other, and not with the vanilla of the other rows."""

    def scale(table: pa.Table) -> pa.Table:
        for name in NUMBERS:
            if name.startswith(("speedup", "tokens_per_s")):
                table = column(name, lambda values: setting(3, values[3] * 300)(values))(table)
        for name in ("tpot_s", "tpot_low", "tpot_high"):
            table = column(name, lambda values: setting(3, values[3] / 300 * 0.9)(values))(table)
        return column("tokens_per_s", lambda v: setting(3, v[3] / 0.9)(v))(table)

    edit_designs(folder, scale)
    assert "wanted speedups over the same vanilla in all rows of a device" in refused(folder)


def test_a_design_that_the_plan_does_not_hold_is_refused(folder: Path) -> None:
    """Another threshold than the plan's, with the label that it has."""

    def rename(table: pa.Table) -> pa.Table:
        labels = table["design"].to_pylist()
        chosen = next(label for label in labels if "gamma 0.5" in label and "/" not in label)
        rows = [place for place, label in enumerate(labels) if label == chosen]
        for row in rows:
            table = column("design", setting(row, chosen.replace("0.5", "0.55")))(table)
            table = column("gammas", setting(row, [0.55]))(table)
        return table

    edit_designs(folder, rename)
    assert "which its plan holds, got none" in refused(folder)


def test_more_and_fewer_rows_than_the_plan_holds_are_refused(folder: Path) -> None:
    edit_designs(folder, lambda table: table.slice(0, table.num_rows - 1))
    assert "rows in" in refused(folder)


def test_rows_may_not_be_left_out_though_their_number_fits(folder: Path) -> None:
    edit_designs(
        folder,
        lambda table: pa.concat_tables([table.slice(0, table.num_rows - 1), table.slice(0, 1)]),
    )
    assert "to be there once, got it twice" in refused(folder)


@pytest.mark.parametrize("name", ["design", "speedup", "placement", "pareto"])
def test_a_missing_repeated_or_mistyped_column_is_refused(folder: Path, name: str) -> None:
    copies = [shutil.copytree(folder, folder.parent / str(number)) for number in range(4)]
    changes = (
        lambda table: table.drop_columns([name]),
        lambda table: table.append_column(name, table[name]),
        lambda table: table.set_column(
            table.schema.get_field_index(name), name, pa.array(range(table.num_rows))
        ),
        column(name, setting(2, None)),
    )
    for copy, change in zip(copies, changes, strict=True):
        edit_designs(copy, change)
        assert name in refused(copy)


def places(value: object, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where every value of a document stands, the first two of each list."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value[:2]))
    return [
        *([way] if way else []),
        *(one for key, item in items for one in places(item, (*way, key))),
    ]


ABSENT = "absent"

WRONG = (
    ABSENT,
    None,
    True,
    -1,
    0.5,
    1e300,
    10**400,
    "text",
    "",
    [],
    [None],
    {},
    {"": 1},
    "\x1b[31m",
)
"""Values of every kind, one of which each place of a description is given."""


def changed(whole: dict[str, Any], way: tuple[Any, ...], value: object) -> dict[str, Any]:
    """Return a description with another value at a place, or without it, of the plan it holds."""
    about = json.loads(json.dumps(whole))
    target = about
    for key in way[:-1]:
        target = target[key]
    target[way[-1]] = value
    if value is ABSENT and isinstance(target, dict):
        del target[way[-1]]
    if "plan" in about and isinstance(about.get("space"), dict):
        about["plan"] = digest_of(about)
    return about


@pytest.mark.parametrize("count", [40, pytest.param(800, marks=pytest.mark.slow)])
def test_no_wrong_value_in_a_description_ends_a_command(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """Each is refused in one sentence, or is harmless: the report is made."""
    pytest.importorskip("plotly")
    whole = json.loads((folder / ABOUT).read_text())
    every = [(way, value) for way in places(whole) if way != (SEAL,) for value in WRONG]
    chosen = np.random.default_rng(0).permutation(len(every))[:count]
    harmless = 0
    for way, value in [every[place] for place in chosen.tolist()]:
        document = changed(whole, way, value)
        edit_sweep(folder, lambda about, document=document: (about.clear(), about.update(document)))
        code = run("report", folder, "--out", tmp_path / "r.html")
        error = capsys.readouterr().err
        assert (code, error.count("\n")) in {(0, 0), (2, 1)}, (way, value, error)
        harmless += code == 0
    assert harmless < count / 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about["space"].update(max_heads=10**6), "max_heads"),
        (
            lambda about: next(iter(about["best"].values()))["oracle"].update(another=3),
            "oracle.another",
        ),
        (lambda about: about["space"].update(depths=[2, 2]), "do not rise"),
        (lambda about: about["space"].update(depths=[2, 8]), "do not rise"),
        (lambda about: about["space"].update(gammas=[0.2, 0.5]), "designs in the space"),
        (lambda about: about["space"].update(forms=["gold"]), "wanted a form of heads"),
        (lambda about: about.update(designs=3), "rows in"),
        (lambda about: about.update(optimal=False), "whether all designs were tried"),
        (lambda about: about.update(trials=5), "is not of the plan|whether all designs"),
        (lambda about: about["devices"].pop(), "rows in"),
        (lambda about: about["best"]["none"].update(speedup=500.0), "as the best on none"),
        (lambda about: about["best"]["none"].update(cap=4), "as the best on none"),
        (lambda about: about["best"]["none"].update(refined_from="x"), "refined_from"),
        (lambda about: about["best"]["none"]["held_out"].update(chosen=9.0), "held_out"),
        (lambda about: about["best"]["none"]["details"].update(vanilla_s=9.0), "vanilla_s"),
        (lambda about: about["best"]["none"]["details"].update(design="x"), "by their design"),
        (lambda about: about["best"]["none"]["prompts"].update(speedup_low=1e9), "other prompts"),
        (lambda about: about["best"].pop("none"), "as the best on none"),
    ],
)
def test_a_description_that_its_table_contradicts_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    def edit(about: dict[str, Any]) -> None:
        change(about)
        about["plan"] = digest_of(about)

    edit_sweep(folder, edit)
    with pytest.raises(ProfileError, match=message):
        read_sweep(folder)


@pytest.mark.parametrize("name", [ABOUT, TABLE])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b"PAR1" * 9, b"null"])
def test_files_of_something_else_are_refused(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    refused(folder)
    if name == TABLE:  # though its digest fits
        edit_sweep(
            folder,
            lambda about: about.update(sha256=sha256_hex(data)),
        )
        refused(folder)


def test_a_space_too_large_for_its_table_is_refused_at_once(folder: Path) -> None:
    def enlarge(about: dict[str, Any]) -> None:
        about["space"].update(
            gammas=[number / 10**5 for number in range(10**5)], n_layers=1000, max_heads=20,
            depths=list(range(1, 1000)),
        )  # fmt: skip
        about["space"]["designs"] = 0
        about["plan"] = digest_of(about)

    edit_sweep(folder, enlarge)
    assert "designs in the space" in refused(folder)


@pytest.mark.parametrize("policies", [(Policy.ORACLE,), (Policy.VANILLA,)])
def test_sweeps_of_one_policy_are_read(tmp_path: Path, policies: tuple[Policy, ...]) -> None:
    profile = synthetic_profile(tmp_path / "p", prompts=1)
    done = small_sweep(tmp_path / "s", profile, policies=policies, max_heads=1)
    assert set(done.designs["policy"]) == set(map(str, policies))

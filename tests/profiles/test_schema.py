"""The profile format is described column by column, and importing its small modules stays cheap."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from adadecode import profiles
from adadecode.profiles.columns import COLUMNS, DESIGN_COLUMNS
from adadecode.profiles.schema import ALL_TABLES, OPTIONAL_TABLES, SAMPLED_TABLES, TABLES

TYPES = {
    "int32": pa.int32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "list[int32]": pa.list_(pa.int32()),
    "list[float64]": pa.list_(pa.float64()),
}


def test_every_table_is_required_sampled_or_optional() -> None:
    assert set(ALL_TABLES) == {*TABLES, *SAMPLED_TABLES, *OPTIONAL_TABLES} == set(COLUMNS)
    assert len(ALL_TABLES) == len(TABLES) + len(SAMPLED_TABLES) + len(OPTIONAL_TABLES)


@pytest.mark.parametrize("name", ALL_TABLES)
def test_every_column_is_described(name: str) -> None:
    table = COLUMNS[name]
    assert table.row.startswith("One row is ")
    assert [(column.name, TYPES[column.type]) for column in table.columns] == [
        (field.name, field.type) for field in ALL_TABLES[name]
    ]
    assert all(column.meaning and not column.meaning.endswith(".") for column in table.columns)
    for column in table.columns:
        if column.name.endswith("_s") or column.name == "seconds":
            assert column.unit == "s"


@pytest.mark.parametrize("name", ["runs", "rounds", "works", "draws"])
def test_a_design_has_the_same_columns_everywhere(name: str) -> None:
    assert COLUMNS[name].columns[: len(DESIGN_COLUMNS)] == DESIGN_COLUMNS


@pytest.mark.parametrize("name", profiles.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(profiles, name) is not None


def test_a_name_that_is_not_there_is_missed() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        profiles.nothing  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    "module",
    [
        "adadecode.profiles.catalog.devices",
        "adadecode.profiles.output_path",
        "adadecode.sim.core.design",
        "adadecode.sim.core.parsing",
        "adadecode.sim.hardware.memory",
        "adadecode.sim.hardware.precision",
    ],
)
def test_what_every_command_needs_loads_nothing_heavy(module: str) -> None:
    program = (
        "import sys, importlib; importlib.import_module(sys.argv[1]); "
        "print([name for name in ('numpy', 'pandas', 'pyarrow', 'numba', 'scipy', 'simpy') "
        "if name in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program, module], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "[]\n"

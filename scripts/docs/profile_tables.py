"""The tables and columns of a profile, from the schema itself."""

from __future__ import annotations

from adadecode.profiles.columns import COLUMNS, Column, TableColumns
from adadecode.profiles.schema import OPTIONAL_TABLES, SAMPLED_TABLES


def profile_tables() -> str:
    """Return a section for each table of a profile, with a row for each column."""
    return "\n\n".join(table_section(name, table) for name, table in COLUMNS.items())


def table_section(name: str, table: TableColumns) -> str:
    """Return the section of one table."""
    remarks = ""
    if name in SAMPLED_TABLES:
        remarks = " Only sampled profiles have this table."
    elif name in OPTIONAL_TABLES:
        remarks = " A profile may lack this table."
    return "\n".join(
        [
            f"### `{name}.parquet`",
            "",
            table.row + remarks,
            "",
            "| column | type | unit | meaning |",
            "| --- | --- | --- | --- |",
            *(
                f"| `{column.name}` | {column.type} | {column.unit} | {_meaning(column)} |"
                for column in table.columns
            ),
        ]
    )


def _meaning(column: Column) -> str:
    """Return what a column means, and whether a file may lack it."""
    return f"{column.meaning} (left out where it holds nothing)" * column.optional or column.meaning

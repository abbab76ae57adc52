"""The designs of a sweep as tables, thinned by stated rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from adadecode.sim.report.sweep import design_tables


def design(
    placement: tuple[int, ...], gamma: float, speedup: float, **other: Any
) -> dict[str, Any]:
    label = f"adadecode {'/'.join(map(str, placement))} gamma {gamma:g}"
    row = {
        "design": label,
        "policy": "adadecode",
        "placement": placement,
        "gammas": (gamma,) * len(placement),
        "cap": 5,
        "verify": True,
    }
    row |= {"device": "a", "speedup": speedup, "tpot_s": 1 / speedup, "pareto": False, "fits": True}
    return {**row, **other}


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return design_tables.with_places(pd.DataFrame(rows))


def test_designs_get_columns_to_group_by() -> None:
    row = table(design((3, 7), 0.8, 2.0)).iloc[0]
    assert (row["heads"], row["shallow"], row["deep"], row["place"], row["gamma"]) == (
        2,
        3,
        7,
        "3/7",
        0.8,
    )


def test_thresholds_that_differ_are_no_gamma_unless_rounded() -> None:
    rows = pd.DataFrame([design((3, 7), 0.8, 2.0, gammas=(0.9, 0.63))])
    assert np.isnan(design_tables.with_places(rows)["gamma"].iloc[0])
    assert design_tables.with_places(rows, rounded=True)["gamma"].iloc[0] == 0.75


def test_lines_are_the_best_of_each_number_of_heads_then_those_asked_for() -> None:
    rows = [design((d,), 0.5, 1 + d / 100) for d in range(1, 12)] + [
        design((1, 2), 0.5, 1.05),
        design((1, 2), 0.9, 1.02),
    ]
    lines = design_tables.lines(table(*rows), "adadecode", ["2"])
    places = lines["place"].drop_duplicates().tolist()
    assert {"11", "1/2", "2"} <= set(places)
    assert len(places) == design_tables.MOST_LINES
    assert lines[lines["place"] == "1/2"]["x"].tolist() == [0.5, 0.9]


def test_a_line_is_at_its_best_cap() -> None:
    lines = design_tables.lines(
        table(design((3,), 0.5, 1.2, cap=3), design((3,), 0.5, 1.4, cap=8)), "adadecode"
    )
    assert lines["cap"].tolist() == [8]


def test_a_policy_without_gamma_is_drawn_along_the_cap() -> None:
    rows = [design((3,), 0.0, 1.2, policy="fixed", cap=cap) for cap in (2, 4)]
    assert design_tables.lines(table(*rows), "fixed")["x"].tolist() == [2, 4]


def test_the_band_leaves_out_where_few_placements_were_looked_at() -> None:
    rows = [design((d,), 0.5, 1 + d) for d in range(1, 5)] + [design((1,), 0.6, 2.0)]
    assert design_tables.band(table(*rows), "adadecode")["x"].tolist() == [0.5]


def test_a_map_holds_the_best_of_a_shallowest_and_deepest_head() -> None:
    cells = design_tables.placement_cells(
        table(design((3, 7), 0.5, 1.5), design((3, 7), 0.8, 2.0), design((3, 5, 7), 0.8, 3.0)),
        (1, 2),
    )
    assert cells[["shallow", "deep", "speedup"]].to_numpy().tolist() == [[3, 7, 2.0]]


def test_one_and_two_heads_share_a_map() -> None:
    counts = design_tables.head_counts(
        table(design((3,), 0.5, 1), design((3, 7), 0.5, 1), design((3, 5, 7), 0.5, 1))
    )
    assert counts == {"one or two heads": (1, 2), "3 heads": (3,)}


def test_a_cloud_keeps_one_design_in_each_cell_and_all_of_a_small_front() -> None:
    random = np.random.default_rng(0)
    rows = [
        design((3,), 0.5, 1 + random.random(), memory_bytes=float(random.random()))
        for _ in range(5000)
    ]
    rows += [
        design((3,), 0.5, 3.0, memory_bytes=0.0),
        design((7,), 0.5, 1.0, memory_bytes=1.0, pareto=True),
    ]
    on, off, count = design_tables.front(table(*rows), "memory_bytes")
    assert on["both"].tolist() == [True, False]
    assert count == 5000
    assert len(off) <= (design_tables.CELLS + 1) ** 2


def test_a_device_has_its_best_and_what_the_first_ones_best_gives() -> None:
    rows = table(
        design((3,), 0.5, 2.0),
        design((7,), 0.5, 1.0),
        design((3,), 0.5, 1.1, device="b"),
        design((7,), 0.5, 1.5, device="b"),
        design((7,), 0.5, 9.0, device="b", policy="oracle"),
        design((3, 7), 0.5, 3.0, fits=False),
    )
    found = design_tables.devices(rows, ["a", "b", "gone"], "a").set_index("device")
    assert found["speedup"].to_dict() == {"a": 2.0, "b": 1.5}
    assert found["carried"].to_dict() == {"a": 2.0, "b": 1.1}
    assert found.loc["a", "vanilla_s"] == pytest.approx(1.0)


def test_objectives_without_any_difference_are_left_out() -> None:
    rows = table(
        design((3,), 0.5, 1.0, memory_bytes=1.0, flops_per_token=2.0),
        design((7,), 0.5, 1.0, memory_bytes=1.0, flops_per_token=3.0),
    )
    assert design_tables.objectives(rows) == ["flops_per_token"]

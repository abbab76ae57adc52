"""What a synthetic trace shows against what its heads were to show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from adadecode.sim.synthetic.head_model import Beta, HeadModel

MARGIN = 4.0
"""Standard errors by which a drawn figure may differ from the one that was wanted."""

COLUMNS = ("domain", "depth", "what", "asked", "got", "margin", "within")


def compare_with_models(
    models: Mapping[str, HeadModel], tables: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Compare drawn tables with the models that they were drawn from.

    Args:
        models: The heads by domain.
        tables: The tables ``prompts`` and ``trace`` that were drawn.

    Returns:
        One row for each domain, depth and figure, without those that never happened. Columns:
        domain, depth, what (agreement, or mean confidence where right or where wrong), asked (by
        the model), got, margin (four standard errors of the drawn text, correlated as it is along
        the text), within (whether got lies within the margin of asked).
    """
    domains = tables["prompts"].set_index("prompt")["domain"]
    trace = tables["trace"].assign(domain=tables["trace"]["prompt"].map(domains))
    parts = dict(iter(trace.groupby(["domain", "depth"])))
    rows = []
    for domain, model in models.items():
        # The share of the outputs that say something new.
        independent = (1 - model.along_text) / (1 + model.along_text)
        for place, depth in enumerate(model.depths):
            part = parts.get((domain, depth), trace.iloc[:0])
            for what, asked, variance, values in _figures(model, place, part):
                if not len(values):
                    continue
                got = float(values.mean())
                margin = MARGIN * math.sqrt(variance / (independent * len(values)))
                within = abs(got - asked) <= margin + 1e-6
                rows.append((domain, depth, what, asked, got, margin, within))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _figures(
    model: HeadModel, place: int, part: pd.DataFrame
) -> Iterator[tuple[str, float, float, NDArray[Any]]]:
    """Yield each figure of a head: its name, mean and variance by the model, and what was drawn."""
    agrees, confidence = part["agrees"].to_numpy(), part["confidence"].to_numpy()
    share = model.agreement[place]
    yield "agreement", share, share * (1 - share), agrees
    yield "confidence, right", *_moments(model.right[place]), confidence[agrees]
    yield "confidence, wrong", *_moments(model.wrong[place]), confidence[~agrees]


def _moments(beta: Beta) -> tuple[float, float]:
    return beta.mean, beta.mean * (1 - beta.mean) / (1 + beta.concentration)

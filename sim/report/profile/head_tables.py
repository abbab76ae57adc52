"""How far the heads can be trusted, as tidy tables: agreement and calibration."""

from __future__ import annotations

import numpy as np
import pandas as pd

from adadecode.profiles.trace import Trace
from adadecode.sim.report.profile.run_tables import ALL

BINS = np.linspace(0.0, 1.0, 11)
"""Edges of the bins of confidence: tenths, as reliability diagrams have them."""


def calibration(trace: Trace, texts: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """Return how often a head is right, by its confidence.

    Args:
        trace: The outputs of the heads.
        texts: The prompts of each domain.

    Returns:
        One row for each domain, depth of a head, and tenth of confidence that has any output.
        Columns: domain, depth, outputs, confidence (mean), agree (share that agrees with the last
        layer), low and high (the 95 % Wilson interval of that share).
    """
    from scipy.stats import binomtest  # takes longer to import than all the rest

    rows = []
    for domain, prompts in texts.items():
        confidences = np.concatenate([trace.confidences(prompt)[1:] for prompt in prompts])
        tokens = np.concatenate([trace.tokens(prompt)[1:] for prompt in prompts])
        for column, depth in enumerate(trace.depths):
            confidence, right = confidences[:, column], tokens[:, column] == tokens[:, -1]
            bins = np.clip(np.digitize(confidence, BINS) - 1, 0, len(BINS) - 2)
            for tenth in np.unique(bins).tolist():
                inside = bins == tenth
                outputs, agreeing = int(inside.sum()), int(right[inside].sum())
                interval = binomtest(agreeing, outputs).proportion_ci(method="wilson")
                rows.append(
                    {
                        "domain": domain,
                        "depth": depth,
                        "outputs": outputs,
                        "confidence": float(confidence[inside].mean()),
                        "agree": float(right[inside].mean()),
                        "low": float(interval.low),
                        "high": float(interval.high),
                    }
                )
    return pd.DataFrame(
        rows, columns=["domain", "depth", "outputs", "confidence", "agree", "low", "high"]
    )


def agreement(trace: Trace) -> pd.DataFrame:
    """Return `Trace.agreement` of the heads alone, and over all text under the domain `ALL`.

    Domains count by their outputs in the agreement over all text.
    """
    by_domain = trace.agreement()
    heads = by_domain[by_domain["depth"] < trace.n_layers]
    if heads["domain"].nunique() < 2:
        return heads.assign(domain=ALL)
    shares = heads[["agree", "confidence"]].mul(heads["outputs"], axis=0)
    sums = (
        pd.concat([heads[["depth", "outputs"]], shares], axis=1).groupby("depth", sort=True).sum()
    )
    whole = (
        sums[["agree", "confidence"]]
        .div(sums["outputs"], axis=0)
        .join(sums["outputs"])
        .reset_index()
        .assign(domain=ALL)
    )
    return pd.concat([whole[heads.columns], heads], ignore_index=True)

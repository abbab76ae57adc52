"""The short, unique name of a design, as every table and figure shows it."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT_CAP = 5
"""Most drafts in a round, where nothing else is chosen (paper, appendix D)."""


def design_label(
    policy: str,
    placement: Sequence[int],
    gammas: Sequence[float],
    cap: int = DEFAULT_CAP,
    *,
    verify: bool = True,
    gates: Sequence[float] = (),
) -> str:
    """Return the name of a design, like ``adadecode 4/8 gamma 0.75 gate 0.3``.

    One gamma stands for all heads where they share it, and so does one gate threshold; gates that
    are not asked go unnamed. The cap is named where it is not the usual
    one, and always for the policy ``fixed``.
    """
    if not placement:
        return str(policy)
    words = [f"{policy} {'/'.join(map(str, placement))}"]
    if policy == "adadecode":
        words.append(f"gamma {_thresholds(gammas)}")
        if any(gates):
            words.append(f"gate {_thresholds(gates)}")
    if cap != DEFAULT_CAP or policy == "fixed":
        words.append(f"cap {cap}")
    if not verify:
        words.append("unverified")
    return " ".join(words)


def _thresholds(each: Sequence[float]) -> str:
    distinct = each if len(set(each)) > 1 else each[:1]
    return "/".join(f"{threshold:g}" for threshold in distinct)

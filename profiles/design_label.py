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
) -> str:
    """Return the name of a design, like ``adadecode 4/8 gamma 0.75``.

    One gamma stands for all heads where they share it. The cap is named where it is not the usual
    one, and always for the policy ``fixed``.
    """
    if not placement:
        return str(policy)
    words = [f"{policy} {'/'.join(map(str, placement))}"]
    if policy == "adadecode":
        distinct = gammas if len(set(gammas)) > 1 else gammas[:1]
        words.append(f"gamma {'/'.join(f'{gamma:g}' for gamma in distinct)}")
    if cap != DEFAULT_CAP or policy == "fixed":
        words.append(f"cap {cap}")
    if not verify:
        words.append("unverified")
    return " ".join(words)

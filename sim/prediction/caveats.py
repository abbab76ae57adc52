"""What figures rest on, in the words that every command shares."""

from __future__ import annotations

from adadecode.sim.hardware.provenance import Provenance

ONE_PROMPT = "one prompt: nothing can be said of others"
"""In the place of an interval over prompts."""


def hypothetical_notes(origin: Provenance) -> list[str]:
    """Return why whatever is predicted from a text is hypothetical, a sentence each.

    Args:
        origin: The provenance of the text. There is no note where its own model wrote it.
    """
    notes = []
    if origin.is_synthetic:
        notes.append(f"hypothetical: the text of {origin.path} is synthetic, no model said it")
    if origin.script:
        notes.append(
            f"hypothetical: {origin.path} is {origin.script}; its own model never said this text"
        )
    return notes


def luck_notes(origin: Provenance) -> list[str]:
    """Return a note where what is replayed is one of many texts that could have been sampled.

    Args:
        origin: The provenance of the text.
    """
    if origin.sampling is None:
        return []
    note = (
        f"{origin.sampling}: one drawn text stands for all, and a draft holds with its head's "
        "probability of acceptance"
    )
    return [note]

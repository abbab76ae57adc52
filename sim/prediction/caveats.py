"""What figures rest on, in the words that every command shares: a text that its own model never said, or one text of many."""

from __future__ import annotations

from adadecode.profiles.store import Profile
from adadecode.sim.hardware.provenance import is_synthetic, sampling_of, script_of

ONE_PROMPT = "one prompt: nothing can be said of others"
"""In place of an interval over prompts."""


def hypothetical_notes(text: Profile) -> list[str]:
    """Why whatever is worked out from a profile's text is hypothetical; none where its own model said it."""
    notes = []
    if is_synthetic(text):
        notes.append(f"hypothetical: the text of {text.path} is synthetic, no model said it")
    if said := script_of(text):
        notes.append(f"hypothetical: {text.path} is {said}; its own model never said this text")
    return notes


def luck_notes(text: Profile) -> list[str]:
    """A note where what is replayed is one of many texts."""
    said = sampling_of(text)
    return (
        []
        if said is None
        else [
            f"{said}: one drawn text stands for all, and a draft holds with its head's probability of acceptance"
        ]
    )

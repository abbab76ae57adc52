"""The profiles that a prediction rests on, each resolved once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.measurements.runs import Cell
from adadecode.sim.prediction.branch_error import rejecting_cells


@dataclass(frozen=True, kw_only=True, eq=False)
class Sources:
    """A profile with latencies and one with a text, which may be the same. Build with `of`.

    Many scenarios can be made of one object: one for each device of a sweep, for instance.

    Attributes:
        profile: Where latencies come from; None takes them from a datasheet.
        origin: Its provenance, with the device and the model that the user named.
        text: The profile whose text is replayed.
        text_origin: The provenance of the text.
        is_own_text: Whether no other text was named than that of ``profile``.
    """

    profile: Profile | None
    origin: Provenance | None
    text: Profile
    text_origin: Provenance
    is_own_text: bool

    @classmethod
    def of(
        cls,
        profile: Profile | None,
        trace: Profile | None = None,
        *,
        source: str | None = None,
        model: str | None = None,
    ) -> Sources:
        """Resolve what profiles hold of their device, model and number formats.

        Args:
            profile: Where latencies come from; None takes them from a datasheet.
            trace: The profile whose text is replayed, where it is another one.
            source: The device that the latencies were measured on, where ``profile`` does not hold
                it.
            model: The model of the latencies, where ``profile`` does not hold its shape.

        Raises:
            ProfileError: If there is no text to replay.
            DeviceError: If ``source`` is unknown, or contradicts the profile.
            ShapeError: If ``model`` is unknown, or contradicts the profile.
            HeadsError: If the heads have a form that this program does not know.
        """
        text = _text(profile, trace)
        origin = None if profile is None else Provenance.of(profile, source, model)
        return cls(
            profile=profile,
            origin=origin,
            text=text,
            text_origin=origin if origin and text is profile else Provenance.of(text),
            is_own_text=trace is None,
        )

    def without_latencies(self) -> Sources:
        """Return the same text alone, for latencies from a datasheet."""
        return replace(self, profile=None, origin=None, is_own_text=False)

    @cached_property
    def trace(self) -> Trace:
        """The text with its heads where they were trained."""
        return Trace.from_profile(self.text)

    @cached_property
    def rejecting(self) -> tuple[Cell, ...]:
        """Measured cells on which the branch model can be tested."""
        return rejecting_cells(self.text)

    @property
    def recorded_form(self) -> HeadForm:
        """Form of the heads where no other is named.

        It is that of the timed heads, or that of the trace where another profile holds the text.
        """
        return self.text_origin.timed_form if self.is_own_text else self.text_origin.trace_form


def _text(profile: Profile | None, trace: Profile | None) -> Profile:
    """Return the profile whose text is replayed. Raises ProfileError where there is none."""
    text = profile if trace is None else trace
    if text is None:
        raise ProfileError(
            "a datasheet holds no text to replay: give a profile that adadecode-profile recorded "
            "as --trace"
        )
    if text.prompts.empty:
        how = " as --trace" if trace is None else ""
        raise ProfileError(
            f"{text.path} holds latencies alone, and no text to replay: give a profile that "
            f"adadecode-profile recorded{how}"
        )
    return text

"""Which forms of heads a recording timed, and the latencies that stand for a form.

Heads of the form that decoded are timed in every recording, others where it was asked to
(``--head-forms``, the table ``head_forms``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm, form_named
from adadecode.sim.hardware.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class TimedHeads:
    """Latencies with heads of one form.

    Attributes:
        form: The form of the heads that were timed.
        table: All latencies of the recording, with the times of these heads.
    """

    form: HeadForm
    table: LatencyTable

    @classmethod
    def of(cls, profile: Profile, origin: Provenance, wanted: HeadForm) -> TimedHeads:
        """Return the latencies with heads of a form, or of the timed one that is nearest to it.

        Nearest is a form of the same number format, and among those the one with the most similar
        number of tokens; the one that decoded, where formats differ from all that were timed.

        Args:
            profile: The recording.
            origin: Its provenance.
            wanted: The form.

        Raises:
            HeadsError: If the recording names a form that this program does not know.
        """
        timed = timed_forms(profile, origin)
        alike = [form for form in timed if form.dtype == wanted.dtype]
        form = min(
            alike,
            key=lambda form: (_distance(form, wanted), form.prompt != wanted.prompt),
            default=timed[0],
        )
        if form == origin.timed_form:
            return cls(form=form, table=profile.latency_table)
        return cls(form=form, table=profile.latencies_with_heads(form.label))

    def notes(self, origin: Provenance) -> tuple[str, ...]:
        """Return a remark where other heads decoded than those that were timed here."""
        if self.form == origin.timed_form:
            return ()
        decoded = origin.timed_form.label
        return (f"heads {self.form.label}: their checks were timed, heads {decoded} decoded",)


def timed_forms(profile: Profile, origin: Provenance) -> tuple[HeadForm, ...]:
    """Return the forms of heads whose checks a recording timed, the one that decoded first.

    Raises:
        HeadsError: If the recording names a form that this program does not know.
    """
    others = (form_named(name) for name in dict.fromkeys(profile.head_forms["form"].tolist()))
    return tuple(dict.fromkeys((origin.timed_form, *others)))


def _distance(form: HeadForm, wanted: HeadForm) -> float:
    """Return how far the tokens of two forms are apart, as the logarithm of their ratio."""
    if form.shortlist == wanted.shortlist:
        return 0.0
    if form.shortlist is None or wanted.shortlist is None:
        return math.inf
    return abs(math.log(form.shortlist / wanted.shortlist))

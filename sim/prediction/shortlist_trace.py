"""What heads with a shortlist would have said, from what full ones said: an approximation, and on which side it errs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from adadecode.profiles.errors import HeadsError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.provenance import is_synthetic, said_form_of


@dataclass(frozen=True, kw_only=True)
class Shortlisted:
    """A trace as heads with a shortlist might have it. outside: share of the outputs (first ones left out) that no shortlist held. sizes: fewest and most tokens in one."""

    trace: Trace
    outside: float
    sizes: tuple[int, int]


def shortlisted(trace: Trace, size: int) -> Shortlisted:
    """Each prompt with the most frequent tokens of all *other* prompts' outputs as its shortlist, ends of a text always among them.

    A head that would say another token says something wrong instead, and is never sure of it. Raises ProfileError where there are no other prompts,
    HeadsError for a sampled text.
    """
    counts = {prompt: Counter(trace.tokens(prompt)[:, -1].tolist()) for prompt in trace.prompts}
    if len(counts) < 2:
        raise ProfileError(
            "a shortlist is counted on other prompts than those it is tried on, and there is one alone: profile more prompts"
        )
    everything = Counter[int]()
    for count in counts.values():
        everything.update(count)
    ends = sorted(trace.eos)
    lists: dict[int, tuple[int, ...]] = {}
    outside = outputs = 0
    for prompt, count in counts.items():
        others = {
            token: n - count[token]
            for token, n in everything.items()
            if n > count[token] and token not in trace.eos
        }
        lists[prompt] = (*ends, *sorted(others, key=lambda token: (-others[token], token)))[:size]
        held, final = set(lists[prompt]), trace.tokens(prompt)[1:, -1].tolist()
        outputs += len(final)
        outside += sum(token not in held for token in final)
    sizes = [len(held) for held in lists.values()]
    return Shortlisted(
        trace=trace.shortlisted(lists),
        outside=outside / max(1, outputs),
        sizes=(min(sizes), max(sizes)),
    )


def in_form(text: Profile, said: Trace, form: HeadForm | None) -> tuple[Trace, list[str]]:
    """The text's heads in this form (as recorded, where None), and what was assumed. said: its trace. Raises HeadsError where nobody can know, ProfileError."""
    spoke = said_form_of(text)
    if form is None or form == spoke:
        return said, []
    if spoke.shortlist not in (None, form.shortlist):
        raise HeadsError(
            f"{text.path} was recorded with heads {spoke.label}, and what heads {form.label} would have said there nobody knows: "
            "record it with --shortlist 0 (full heads), and ask for shortlists of that"
        )
    notes = []
    if form.dtype != spoke.dtype:
        notes.append(
            f"heads {form.label}: what they say is taken to be what was recorded of heads {spoke.label}, in another format"
        )
    if form.shortlist is None or form.shortlist == spoke.shortlist:
        return said, notes
    if is_synthetic(text) or (text.manifest.get("scripted") or {}).get("synthetic"):
        return said, [
            *notes,
            f"heads {form.label}: drawn tokens have no frequencies, so the shortlist changes cost alone",
        ]
    found = shortlisted(said, form.shortlist)
    low, high = found.sizes
    held = f"{low} to {high}" if low < high else str(low)
    fewer = (
        f", no more than {held} different tokens being recorded" if high < form.shortlist else ""
    )
    notes.append(
        f"heads {form.label}: the most frequent tokens of the other prompts{fewer}; {found.outside:.1%} of the outputs are outside. Approximated: a head that "
        "would say one of these is never sure, where a real one may be sure of something wrong, and is no surer of the others than a full head, where a real one is"
    )
    return found.trace, notes

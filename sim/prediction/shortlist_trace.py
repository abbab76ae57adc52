"""Derive the outputs of heads with a shortlist from those of full heads.

Which tokens a shortlist holds is exact: a recording carries the order in which the engine takes
them (`adadecode.profiles.token_ranking`). What a head says that knows only these is approximated,
and the notes say on which side it errs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adadecode.profiles.errors import HeadsError, ProfileError
from adadecode.profiles.manifest import SHARED
from adadecode.profiles.store import Profile
from adadecode.profiles.token_ranking import TokenRanking
from adadecode.profiles.trace import Trace
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.provenance import Provenance


@dataclass(frozen=True, kw_only=True)
class Shortlisted:
    """A trace as heads with a shortlist might have it.

    Attributes:
        trace: The trace.
        outside: Share of the outputs that no shortlist held; first outputs are left out.
        sizes: Fewest and most tokens in a shortlist.
    """

    trace: Trace
    outside: float
    sizes: tuple[int, int]


def shortlisted(
    trace: Trace,
    size: int,
    ranking: TokenRanking | None = None,
    *,
    beside: Mapping[int, Sequence[int]] | None = None,
) -> Shortlisted:
    """Give the heads of a trace a shortlist.

    A head that would draft another token drafts a wrong one instead, and is never sure of it.

    Args:
        trace: The outputs of full heads.
        size: Most tokens of a shortlist.
        ranking: The order in which the engine takes tokens. Without one, as in older recordings,
            each prompt has the most frequent tokens of all *other* prompts' outputs, after those
            that end a text.
        beside: More tokens that the shortlist of a prompt holds, by prompt.

    Raises:
        ProfileError: If there is no ranking, and there are no other prompts.
        HeadsError: If the text is sampled.
    """
    if ranking is None:
        lists = _of_other_prompts(trace, size)
    else:
        lists = dict.fromkeys(trace.prompts, ranking.shortlist(size))
    sizes = [len(held) for held in lists.values()]
    for prompt, tokens in (beside or {}).items():
        lists[prompt] = tuple(dict.fromkeys((*lists[prompt], *tokens)))
    return Shortlisted(
        trace=trace.shortlisted(lists),
        outside=_outside(trace, lists),
        sizes=(min(sizes), max(sizes)),
    )


def _of_other_prompts(trace: Trace, size: int) -> dict[int, tuple[int, ...]]:
    """Return for each prompt the most frequent tokens of the others, ends first."""
    counts = {prompt: Counter(trace.tokens(prompt)[:, -1].tolist()) for prompt in trace.prompts}
    if len(counts) < 2:
        raise ProfileError(
            "a shortlist is counted on other prompts than those it is tried on, and there is one "
            "alone: profile more prompts, or record it again, with the order of all tokens"
        )
    everything = Counter[int]()
    for count in counts.values():
        everything.update(count)
    ends = sorted(trace.eos)
    lists: dict[int, tuple[int, ...]] = {}
    for prompt, count in counts.items():
        others = {
            token: n - count[token]
            for token, n in everything.items()
            if n > count[token] and token not in trace.eos
        }
        lists[prompt] = (*ends, *sorted(others, key=lambda token: (-others[token], token)))[:size]
    return lists


def _outside(trace: Trace, lists: Mapping[int, Sequence[int]]) -> float:
    """Return the share of the outputs after the first that are on no list."""
    outside = outputs = 0
    for prompt, tokens in lists.items():
        held, final = set(tokens), trace.tokens(prompt)[1:, -1].tolist()
        outputs += len(final)
        outside += sum(token not in held for token in final)
    return outside / max(1, outputs)


def in_form(
    text: Profile, origin: Provenance, trace: Trace, form: HeadForm | None
) -> tuple[Trace, list[str]]:
    """Return a trace as heads of another form might have it, and what was assumed.

    Args:
        text: The profile that holds the trace.
        origin: Its provenance.
        trace: The outputs of the heads, at their present depths.
        form: The form wanted; None for the recorded one.

    Raises:
        HeadsError: If the outputs of such heads cannot be derived.
        ProfileError: If there is only one prompt to count frequent tokens on.
    """
    recorded = origin.trace_form
    if form is None or form == recorded:
        return trace, []
    if recorded.shortlist is not None and recorded.tokens != form.tokens:
        raise HeadsError(
            f"{text.path} was recorded with heads {recorded.label}, and what heads {form.label} "
            "would have said there nobody knows: record it with --shortlist 0 (full heads), and "
            "ask for shortlists of that"
        )
    notes = []
    if form.dtype != recorded.dtype:
        notes.append(
            f"heads {form.label}: what they say is taken to be what was recorded of heads "
            f"{recorded.label}, in another format"
        )
    if form.shortlist is None or form.tokens == recorded.tokens:
        return trace, notes
    if origin.is_synthetic or (text.manifest.get("scripted") or {}).get("synthetic"):
        notes.append(
            f"heads {form.label}: drawn tokens have no frequencies, so the shortlist changes cost "
            "alone"
        )
        return trace, notes
    if text.manifest.get(SHARED):
        raise HeadsError(
            f"{text.path} was shared without its text, and no stand-in of a token is frequent: ask "
            "whoever recorded it what a shortlist would give, or leave --shortlist out"
        )
    ranking = TokenRanking.from_manifest(text.manifest["heads"])
    beside = _in_prompts(text) if form.prompt else None
    found = shortlisted(trace, form.shortlist, ranking, beside=beside)
    return found.trace, [*notes, _approximation_note(found, form, form.shortlist, ranking)]


def _in_prompts(text: Profile) -> dict[int, Sequence[int]]:
    """Return the tokens that heads or the text said and that the prompt holds, by prompt.

    Raises:
        HeadsError: If the recording does not tell.
    """
    about = text.prompts
    if not any(map(len, about["in_prompt"])):
        raise HeadsError(
            f"{text.path} does not tell which tokens its prompts hold: record it again, or leave "
            "the prompt out of --shortlist and --head-forms"
        )
    return dict(zip(about["prompt"].tolist(), about["in_prompt"].tolist(), strict=True))


def _approximation_note(
    found: Shortlisted, form: HeadForm, size: int, ranking: TokenRanking | None
) -> str:
    low, high = found.sizes
    held = f"{low} to {high}" if low < high else str(low)
    fewer = f", no more than {held} different tokens being recorded" if high < size else ""
    which = (
        f"the most frequent tokens of the other prompts{fewer}"
        if ranking is None
        else f"tokens {ranking.words}, which are those that the engine takes"
    )
    which += ", and the tokens of each prompt" if form.prompt else ""
    return (
        f"heads {form.label}: {which}; "
        f"{found.outside:.1%} of the outputs are outside. Approximated: a head that would say one "
        "of these is never sure, where a real one may be sure of something wrong, and is no surer "
        "of the others than a full head, where a real one is"
    )

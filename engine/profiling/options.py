"""`RecordingOptions`: what a recording runs and how often, checked before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adadecode.engine.runtime.choices import ALL_TOKENS, GraphMode, HeadDtype, Numerics
from adadecode.engine.runtime.notations import INTEGERS, PLACEMENTS, STRINGS, THRESHOLDS, WORDS
from adadecode.engine.runtime.option_fields import check_counts, option, settle_values
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.core.head_form import FULL, HeadForm, form_named

if TYPE_CHECKING:
    from adadecode.engine.decoding.sampling import Sampling

PROMPTS, HEADS, DESIGNS = "Prompts", "Heads", "Designs to run"
MEASURING, SAMPLING, RUNNING = "Measuring", "Sampling", "How layers are run"
BASELINES = "Baselines"


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """What a recording runs, how often, and what it keeps.

    Each field is an option of ``adadecode-profile``, whose ``--help`` describes it. A field that
    is None is left open and settled when the model is known.

    Raises:
        InputError: An option makes no sense for any model.
        DesignError: A threshold, placement or cap makes no design.
        SamplingError: The options of sampling contradict each other or are out of range.
        HeadsError: No heads can have this form.
    """

    domains: tuple[str, ...] | None = option(
        "Only the prompts of these domains, separated by commas.",
        shown="all",
        notation=WORDS,
        panel=PROMPTS,
    )
    limit: int | None = option(
        "At most this many prompts of each domain.", shown="all", panel=PROMPTS
    )
    max_new_tokens: int = option(
        "Tokens to generate for each prompt, unless its own max_new_tokens is less.",
        default=128,
        panel=PROMPTS,
    )
    stop: tuple[str, ...] | None = option(
        "End texts at this string, or at those of a JSON list.",
        shown="those of the model's generation settings",
        notation=STRINGS,
        panel=PROMPTS,
    )
    shortlist: int | None = option(
        "Heads give logits of only this many frequent tokens; 0 for all tokens.",
        shown="as the heads were saved",
        panel=HEADS,
    )
    shortlist_prompt: bool | None = option(
        "The tokens of each text's prompt are on its shortlist too.",
        shown="as the heads were saved",
        panel=HEADS,
    )
    head_dtype: HeadDtype | None = option(
        "The format in which heads read their matrix and the LM head; 'own' is the model's.",
        shown="as the heads were saved",
        panel=HEADS,
    )
    head_forms: tuple[str, ...] | None = option(
        "Other forms of the heads whose checks are timed too, such as "
        "full,int8,shortlist:8192,shortlist:8192+int8.",
        shown="none",
        notation=WORDS,
        panel=HEADS,
    )
    gammas: tuple[float, ...] = option(
        "Confidence thresholds to run, separated by commas.",
        default=(0.5, 0.75, 0.9),
        notation=THRESHOLDS,
        panel=DESIGNS,
    )
    gates: tuple[float, ...] = option(
        "Gate thresholds to run with every gamma, separated by commas; 0 asks each head without "
        "its gate.",
        default=(0.0,),
        notation=THRESHOLDS,
        panel=DESIGNS,
    )
    placements: tuple[tuple[int, ...], ...] | None = option(
        "Head placements to run, separated by semicolons, like 4;8;4,8.",
        shown="three, from a quarter of the depth",
        notation=PLACEMENTS,
        panel=DESIGNS,
    )
    cap: int = option("Most drafts in a round.", default=DEFAULT_CAP, panel=DESIGNS)
    fixed_drafts: int = option(
        "Drafts in a round of the policy 'fixed', which runs at each single head; 0 leaves it out.",
        default=3,
        panel=DESIGNS,
    )
    repeats: int = option("Timed runs of each design on each prompt.", default=3, panel=MEASURING)
    samples: int = option("Laps of each timed walk in a visit.", default=1, panel=MEASURING)
    contexts: tuple[int, ...] | None = option(
        "Positions at which latencies are measured, separated by commas.",
        shown="three that cover all runs",
        notation=INTEGERS,
        panel=MEASURING,
    )
    walks: tuple[int, ...] | None = option(
        "Depths of the timed walks, separated by commas.",
        shown="up to eight",
        notation=INTEGERS,
        panel=MEASURING,
    )
    max_tokens: int | None = option(
        "Largest batch, in tokens, whose latency is measured.", shown="cap + 1", panel=MEASURING
    )
    branch_floor: float = option(
        "Record what follows a wrong draft where its head gave it at least this probability.",
        default=0.3,
        panel=MEASURING,
    )
    seed: int = option("Seed of the order of the runs.", default=0, panel=MEASURING)
    temperature: float | None = option(
        "Sample texts at this temperature; 0 decodes greedily.", shown="0", panel=SAMPLING
    )
    top_k: int | None = option(
        "Sample only from the K most likely tokens; 0 or -1 for all.", shown="all", panel=SAMPLING
    )
    top_p: float | None = option(
        "Sample only from the most likely tokens that make up this probability.",
        shown="1",
        panel=SAMPLING,
    )
    sample_seed: int | None = option("Seed of the sampled texts.", shown="0", panel=SAMPLING)
    graphs: GraphMode = option(
        "How layers are run; 'auto' captures CUDA graphs on one GPU and runs eagerly elsewhere.",
        default=GraphMode.AUTO,
        panel=RUNNING,
    )
    numerics: Numerics = option(
        "With 'canonical', all greedy designs agree bit for bit in any dtype, at a cost in time.",
        default=Numerics.NATIVE,
        panel=RUNNING,
    )
    baselines: tuple[str, ...] | None = option(
        "Other ways to decode that are run in turn with the designs: all, or some of "
        "generate,static,lookup:10,early-exit:DEPTH,draft.",
        shown="none",
        notation=WORDS,
        panel=BASELINES,
    )

    def __post_init__(self) -> None:
        settle_values(self)
        if self.top_k in ALL_TOKENS:
            object.__setattr__(self, "top_k", None)
        if self.top_p == 1.0:
            object.__setattr__(self, "top_p", None)
        check_counts(self, "max_new_tokens", "repeats", "samples", "max_tokens", "limit")
        for depths in (self.contexts, self.walks, *(self.placements or ())):
            if depths is not None and (not depths or min(depths) < 1):
                raise InputError(
                    f"wanted contexts, walks and placements as numbers from 1 on, got {depths}"
                )
        if not 0.0 < self.branch_floor <= 1.0:
            raise InputError(
                f"wanted --branch-floor as a probability in (0, 1], got {self.branch_floor}"
            )
        check_designs(self.gammas, self.cap, self.fixed_drafts, self.gates)
        if self.max_tokens is not None and self.max_tokens < self.cap + 1:
            raise InputError(
                f"a cap of {self.cap} drafts makes batches of up to {self.cap + 1} tokens, "
                f"got --max-tokens {self.max_tokens}"
            )
        if not all(isinstance(one, str) and one for one in self.stop or ()):
            raise InputError(f"wanted --stop as strings, none of them empty, got {self.stop}")
        self.head_form(FULL)
        for name in self.head_forms or ():
            form_named(name)
        self.sampling()
        if self.baselines is not None:
            self._check_baselines()

    def _check_baselines(self) -> None:
        if self.temperature:
            raise InputError("baselines decode greedily: record them with --temperature 0")
        from adadecode.engine.baselines.factory import named_baselines

        named_baselines(WORDS.write(self.baselines), drafts=True, scripted=False)

    def sampling(self) -> Sampling | None:
        """Return how texts are sampled, None for greedy decoding.

        The seed is 0 where none is given, so that a resumed recording draws the same texts.
        """
        if not any((self.temperature, self.top_k is not None, self.top_p is not None)) and (
            self.sample_seed is None
        ):
            return None
        from adadecode.engine.decoding.sampling import Sampling

        seed = 0 if self.temperature and self.sample_seed is None else self.sample_seed
        return Sampling.of(
            temperature=self.temperature or 0.0, top_k=self.top_k, top_p=self.top_p, seed=seed
        )

    def head_form(self, own: HeadForm) -> HeadForm:
        """Return the form of the recorded heads.

        Args:
            own: The form that the heads were saved in, kept where an option is None.
        """
        dtype = own.dtype if self.head_dtype is None else str(self.head_dtype)
        shortlist = own.shortlist if self.shortlist is None else self.shortlist or None
        prompt = own.prompt if self.shortlist_prompt is None else self.shortlist_prompt
        return HeadForm(
            shortlist=shortlist,
            prompt=prompt and shortlist is not None,
            dtype=None if dtype == HeadDtype.OWN else dtype,
        )


def check_designs(
    gammas: tuple[float, ...], cap: int, fixed_drafts: int, gates: tuple[float, ...] = (0.0,)
) -> None:
    """Check that thresholds, the cap and the fixed number of drafts make designs of some model.

    Raises:
        DesignError: They make none.
    """
    if not gammas:
        raise InputError("wanted at least one confidence threshold as --gammas, got none")
    if not gates:
        raise InputError("wanted at least one gate threshold as --gates, got none: 0 asks no gate")
    for gamma in gammas:
        Design.of(Policy.ADADECODE, gamma=gamma, placement=(1,), cap=cap)
    for gate in gates:
        Design.of(Policy.ADADECODE, gamma=0.0, placement=(1,), cap=cap, gate=gate)
    if fixed_drafts:
        Design.of(Policy.FIXED, placement=(1,), cap=min(cap, fixed_drafts))


DEFAULTS = RecordingOptions()
"""The options of a recording where none is given."""

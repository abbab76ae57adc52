"""`RecordingRequest`: all options of a recording, as they are kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adadecode.engine.loading.prompt_source import PromptSource
from adadecode.engine.profiling.model_source import ModelSource
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.runtime.choices import GraphMode
from adadecode.engine.runtime.given_options import GivenOptions
from adadecode.engine.runtime.option_fields import described, from_settings, to_settings
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there


@dataclass(frozen=True, kw_only=True)
class RecordingRequest:
    """What computes (``source``) and what is recorded of it (``options``)."""

    source: ModelSource
    options: RecordingOptions

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> RecordingRequest:
        """Return the request whose settings a manifest or an unfinished recording holds.

        Args:
            settings: As `to_settings` wrote them. What an older version did not write takes its
                default, and what belongs to no option is ignored.

        Raises:
            InputError: A setting is not one of its option.
        """
        return cls(
            source=from_settings(ModelSource, settings),
            options=from_settings(RecordingOptions, settings),
        )

    def to_settings(self) -> dict[str, Any]:
        """Return the request as JSON can hold it, by the names of the options."""
        return to_settings(self.source) | to_settings(self.options)

    def changed(
        self, source: GivenOptions[ModelSource], options: GivenOptions[RecordingOptions]
    ) -> RecordingRequest:
        """Return the request with the options replaced that a user gave.

        Args:
            source: What was given of the model and its place.
            options: What was given of the other options.

        Raises:
            InputError: The new options make no sense.
        """
        return RecordingRequest(
            source=source.replace_in(self.source), options=options.replace_in(self.options)
        )

    def with_graphs(self, graphs: GraphMode) -> RecordingRequest:
        """Return the request with layers run in this way."""
        return replace(self, options=replace(self.options, graphs=graphs))

    def check(self) -> None:
        """Check what can be known before a model is loaded: which options go together.

        Raises:
            InputError: Options contradict each other, or name nothing that there is.
        """
        from adadecode.engine.profiling.execution_options import check_execution

        self._check_scripted()
        self.source.check_named()
        check_execution(self)
        self._check_counted_in()
        self._check_baselines()

    def _check_counted_in(self) -> None:
        source = self.source.shortlist_from
        if source is not None and not is_there(Path(source)):
            raise InputError(
                f"no {source} to count tokens in: name a profile or a file of texts as "
                "--shortlist-from"
            )

    def _check_baselines(self) -> None:
        named, draft = self.options.baselines, self.source.draft_model
        if named is None:
            if draft is not None:
                raise InputError(
                    "--draft-model is for the baseline draft: "
                    "add --baselines all, or --baselines draft"
                )
            return
        from adadecode.engine.baselines.factory import named_baselines

        scripted = self.source.scripted is not None
        named_baselines(",".join(named), drafts=draft is not None, scripted=scripted)

    def _check_scripted(self) -> None:
        source = self.source
        settings, flags = self.to_settings(), described(RecordingOptions) | described(ModelSource)
        if source.scripted is None:
            for name in ("shape", "layers", "mapping"):
                if settings[name] is not None:
                    raise InputError(
                        f"{flags[name].flag} is for decisions that another recording made: "
                        "name its profile with --scripted; random weights alone decide nothing"
                    )
            return
        self._check_followed()

    def _check_followed(self) -> None:
        """Check the options of a recording that follows a script."""
        source, flags = self.source, described(RecordingOptions)
        settings = self.to_settings()
        if not (source.shape or source.demo):
            raise InputError(
                "--scripted names the decisions, not the model that computes: "
                "name a shape with --shape, or the bundled model with --demo"
            )
        flags |= described(ModelSource)
        for name in ("heads", *described(PromptSource)):
            if settings[name]:
                whose = "heads" if name == "heads" else "prompts"
                raise InputError(
                    f"with --scripted, {whose} are those of the recording: leave "
                    f"{flags[name].flag} out"
                )
        if self.options.stop:
            raise InputError(
                "with --scripted, texts end where those of the recording do: leave --stop out"
            )
        for name in ("temperature", "top_k", "top_p", "sample_seed"):
            if settings[name]:
                raise InputError(f"a script is followed greedily: leave {flags[name].flag} out")
        if source.layers is not None and not source.shape:
            raise InputError("--layers cuts a --shape; the demo model is run whole")
        if source.shortlist_from is not None:
            raise InputError(
                "with --scripted, tokens are random and so is a shortlist: "
                "leave --shortlist-from out"
            )


OPTION_NAMES = tuple(described(ModelSource)) + tuple(described(RecordingOptions))
"""The names of all options of a recording, which its settings begin with."""

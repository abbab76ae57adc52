"""`PromptSource`: which prompts a command reads, and how a chat template is applied to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adadecode.engine.runtime.choices import PromptSplit
from adadecode.engine.runtime.notations import TEMPLATE_ARGUMENTS
from adadecode.engine.runtime.option_fields import option, settle_values
from adadecode.profiles.errors import InputError

if TYPE_CHECKING:
    from adadecode.engine.loading.prompt_file import PromptFile

PANEL = "Prompts"


@dataclass(frozen=True, kw_only=True)
class PromptSource:
    """Which prompts are read, and how they are put to the model.

    Each field is an option of the commands that read prompts.

    Raises:
        InputError: An option is none of its choices, or two contradict each other.
    """

    prompts: str | None = option(
        "A file of prompts: JSON lines or an array of objects with a prompt, messages, turns or "
        "conversations (and a domain), or text with one in a line.",
        panel=PANEL,
    )
    prompt_field: str | None = option(
        "The field of a JSON file that holds the prompts, like question.",
        shown="prompt, text, messages, turns or conversations",
        panel=PANEL,
    )
    prompt_split: PromptSplit | None = option(
        "How a text file is cut into prompts: a line each, at blank lines, or not at all.",
        shown="line",
        panel=PANEL,
    )
    chat: bool = option(
        "Put plain prompts to the model as its chat template has it; messages always are.",
        default=False,
        panel=PANEL,
    )
    system: str | None = option(
        "The system message of chats that have none of their own.", panel=PANEL
    )
    template_args: tuple[tuple[str, Any], ...] | None = option(
        "A value that the chat template reads, like enable_thinking=false; may be given again, or "
        "as one JSON object.",
        flag="--template-arg",
        notation=TEMPLATE_ARGUMENTS,
        panel=PANEL,
    )

    def __post_init__(self) -> None:
        settle_values(self)
        if self.prompt_field is not None and self.prompt_split is not None:
            raise InputError(
                "--prompt-field names a field of JSON, --prompt-split cuts a text: leave one out"
            )

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The values that the chat template reads, by name."""
        return dict(self.template_args or ())

    def read(self, otherwise: str | Path, notice: Callable[[str], None]) -> PromptFile:
        """Return what the file of prompts holds, and say what it was taken for.

        Args:
            otherwise: The file where none is given; of that nothing is said.
            notice: Called with the sentence.

        Raises:
            PromptError: The file cannot be read.
        """
        from adadecode.engine.loading.prompt_file import read_prompts

        found = read_prompts(
            self.prompts or otherwise, field=self.prompt_field, split=self.prompt_split
        )
        if self.prompts:
            notice(found.recognised)
        return found

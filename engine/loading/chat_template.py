"""A model's chat template, applied to conversations as `transformers` applies it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adadecode.engine.loading.conversation import USER, Conversation
from adadecode.engine.loading.prompts import Prompt
from adadecode.profiles.digest import sha256_hex
from adadecode.profiles.errors import PromptError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adadecode.engine.loading.prompt_source import PromptSource

CLOCK = "strftime_now"
"""What a template asks for the date of the day."""


class ChatTemplate:
    """How a model is told what was said: its own template, a system message and arguments.

    Args:
        tokenizer: The model's own.
        model: What the model is called, for messages.
        system: The system message of conversations that have none; none where None.
        arguments: Values that the template reads, by name.

    Raises:
        PromptError: The tokenizer has no chat template, or its template does not read an argument.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        model: str,
        system: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.tokenizer, self.model, self.system = tokenizer, model, system
        self.arguments = dict(arguments or {})
        self.source = self._source()
        self.digest = sha256_hex(self.source.encode())
        taken = inspect.signature(tokenizer.apply_chat_template).parameters
        for name in self.arguments:
            if name in taken or name == "messages":
                raise PromptError(f"{name} is no argument of a chat template: leave it out")
            if not re.search(rf"\b{re.escape(name)}\b", self.source):
                raise PromptError(
                    f"the chat template of {model} reads no {name!r}: check the name, or leave it "
                    "out"
                )

    def _source(self) -> str:
        """Return the text of the template."""
        try:
            return self.tokenizer.get_chat_template()
        except ValueError as problem:
            if isinstance(getattr(self.tokenizer, "chat_template", None), dict):
                raise PromptError(
                    f"{self.model} has several chat templates, none of them by default: put the "
                    "one to use into its folder as chat_template.jinja"
                ) from problem
            raise PromptError(
                f"{self.model} has no chat template, as a base model has none: give plain prompts "
                "without --chat, take the model's instruct version, or put a template into its "
                "folder as chat_template.jinja"
            ) from None

    @property
    def tells_the_date(self) -> bool:
        """Whether the template writes the date of the day, so that texts change with it."""
        return CLOCK in self.source and not any("date" in name for name in self.arguments)

    def apply(self, conversation: Conversation) -> Prompt:
        """Return the text that ends where the model is to answer.

        Raises:
            PromptError: The template refuses the conversation, or leaves its system message out.
        """
        told = conversation.with_system(self.system)
        where = f"the chat template of {self.model} on {conversation.place}"
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in told.messages],
                tokenize=False,
                add_generation_prompt=True,
                **self.arguments,
            )
        except Exception as problem:  # a template raises whatever it likes
            raise PromptError(
                f"{where} fails ({type(problem).__name__}: {problem}): mend the messages or leave "
                "them out" + (", or leave --system out" if told is not conversation else "")
            ) from problem
        if told is not conversation and str(self.system).strip() not in text:
            raise PromptError(f"{where} leaves the system message out: leave --system out")
        return Prompt(
            text=str(text),
            domain=conversation.domain,
            max_new_tokens=conversation.max_new_tokens,
            template=self.digest,
            asked=conversation.said,
        )


def chat_prompts(
    tokenizer: PreTrainedTokenizerBase,
    chats: Iterable[Sequence[Mapping[str, Any]]],
    *,
    system: str | None = None,
    **arguments: Any,
) -> list[Prompt]:
    """Return conversations as prompts, by the model's own chat template.

    Example:
        ::

            chat = [{"role": "user", "content": "Why is the sky blue?"}]
            prompts = chat_prompts(tokenizer, [chat], system="Be brief.", enable_thinking=False)
            record(model, tokenizer, prompts, heads=heads, out="profile")

    Args:
        tokenizer: The model's own.
        chats: Conversations, each a list of messages with ``role`` and ``content``. The last is not
            the model's own.
        system: The system message of conversations that have none.
        **arguments: Values that the template reads.

    Raises:
        PromptError: The tokenizer has no chat template, or the template cannot be applied.
    """
    template = ChatTemplate(tokenizer, model=_called(tokenizer), system=system, arguments=arguments)
    return [
        template.apply(Conversation(messages=tuple(chat), place=f"conversation {number}"))
        for number, chat in enumerate(chats, 1)
    ]


def settle_prompts(
    prompts: Sequence[Prompt | Conversation],
    tokenizer: PreTrainedTokenizerBase,
    source: PromptSource,
    notice: Callable[[str], None],
    *,
    model: str,
) -> list[Prompt]:
    """Return the prompts of a file as texts: chats by the model's template, others as they are.

    Args:
        prompts: What the file holds.
        tokenizer: The model's own.
        source: How prompts are put to the model.
        notice: Called with sentences that the user should read.
        model: What the model is called, for messages.

    Raises:
        PromptError: There is no chat template, or it cannot be applied; or an option is for chats,
            and these are none.
    """
    if not source.chat and not any(isinstance(one, Conversation) for one in prompts):
        for given, name in ((source.system, "--system"), (source.template_args, "--template-arg")):
            if given:
                raise PromptError(
                    f"{name} is for chats, and the prompts are plain texts: add --chat to put them "
                    "to the model as its chat template has it"
                )
        if getattr(tokenizer, "chat_template", None):
            notice(
                f"the prompts are continued as plain texts; {model} has a chat template: --chat "
                "puts them to it as questions"
            )
        return [one for one in prompts if isinstance(one, Prompt)]
    template = ChatTemplate(
        tokenizer, model=model, system=source.system, arguments=source.arguments
    )
    if template.tells_the_date:
        notice(
            f"the chat template of {model} writes the date of the day, so that tomorrow's prompts "
            "are others: fix it with --template-arg, as date_string=2026-01-31 for Llama 3"
        )
    return [template.apply(_as_chat(one, tokenizer)) for one in prompts]


def _as_chat(prompt: Prompt | Conversation, tokenizer: PreTrainedTokenizerBase) -> Conversation:
    """Return what a user asks as a conversation."""
    if isinstance(prompt, Conversation):
        return prompt
    place = f"the prompt {prompt.text[:40]!r}"
    words = tuple(getattr(tokenizer, "all_special_tokens", ()))
    if begun := next((word for word in words if prompt.text.lstrip().startswith(word)), None):
        raise PromptError(
            f"{place} begins with {begun}, as if a chat template wrote it already: leave --chat out"
        )
    return Conversation(
        messages=({"role": USER, "content": prompt.text},),
        domain=prompt.domain,
        max_new_tokens=prompt.max_new_tokens,
        place=place,
    )


def _called(tokenizer: PreTrainedTokenizerBase) -> str:
    return getattr(tokenizer, "name_or_path", "") or "this model"

"""A request to a batched engine, as whoever submitted it holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Condition

from adadecode.engine.decoding.decoder import Generation
from adadecode.engine.serving.batched_text import BatchedText
from adadecode.profiles.errors import InputError
from adadecode.sim.serving.request import ServedRequest


class BatchedRequest:
    """A text that the engine writes. Iterate over it for its tokens as they are committed.

    Any thread may read it, several times and also while it grows.

    Example:
        ::

            request = engine.submit(ids, max_new_tokens=64)
            for token in request:
                print(tokenizer.decode(token), end="", flush=True)
            print(request.result().rounds)

    Args:
        text: The text.
        cancel: Called to cancel it.
    """

    def __init__(self, text: BatchedText, cancel: Callable[[BatchedRequest], None]) -> None:
        self._text = text
        self._cancel: Callable[[BatchedRequest], None] | None = cancel
        self._tokens: list[int] = []
        self._over = False
        self._error: BaseException | None = None
        self._changed = Condition()

    @property
    def name(self) -> str:
        """Its name in the record of steps."""
        return self._text.name

    @property
    def done(self) -> bool:
        """Whether it has ended, was cancelled, or failed."""
        return self._over

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled before its end."""
        return self._text.cancelled

    def __iter__(self) -> Iterator[int]:
        """Yield its tokens, the one that ended the text included, and wait for those to come.

        Raises:
            Exception: What ended the engine, where that failed.
        """
        given = 0
        while True:
            with self._changed:
                while not self._over and len(self._tokens) == given:
                    self._changed.wait()
                fresh = self._tokens[given:]
                error = self._error
            yield from fresh
            given += len(fresh)
            if not fresh:
                if error is not None:
                    raise error
                return

    def result(self, timeout: float | None = None) -> Generation:
        """Return the whole text once it has ended; of a cancelled one what there is.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: It has not ended by then.
            Exception: What ended the engine, where that failed.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._over, timeout):
                raise TimeoutError(
                    f"{self.name} has not ended after {timeout} seconds: wait longer, or cancel it"
                )
            if self._error is not None:
                raise self._error
        schedule = self._text.sequence.schedule
        return Generation(
            tokens=list(self._tokens),
            rounds=[] if schedule is None else list(schedule.rounds),
            seed=self._text.seed,
        )

    def cancel(self) -> None:
        """Let it go before its end; its blocks are free from the next step on.

        Nothing happens where it is over.
        """
        if (cancel := self._cancel) is not None:
            cancel(self)

    def served(self) -> ServedRequest:
        """Return when what happened to it, in seconds since the engine began.

        Of a cancelled one that is what happened up to then.

        Raises:
            InputError: It has not ended, or has no token.
            Exception: What ended the engine, where that failed.
        """
        if self._error is not None:
            raise self._error
        if not self._over:
            raise InputError(
                f"wanted the times of a request that has ended, got {self.name!r}, which is still "
                "being served: call its result first"
            )
        return self._text.served()

    # -- for the engine --------------------

    @property
    def text(self) -> BatchedText:
        """The text, which belongs to the engine's thread."""
        return self._text

    def update(self, *, over: bool = False, error: BaseException | None = None) -> None:
        """Show what the text has become, and wake whoever waits.

        Args:
            over: Whether nothing will follow.
            error: What ended it, where that was a failure.
        """
        with self._changed:
            self._tokens += self._text.tokens[len(self._tokens) :]
            self._over |= over
            self._error = self._error or error
            if over:
                self._cancel = None  # lets go of the engine
            self._changed.notify_all()

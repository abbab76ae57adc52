"""The thread of a batched engine, and the requests that it serves."""

from __future__ import annotations

from threading import Condition, Thread

from adadecode.engine.serving.batched_decoder import BatchedDecoder
from adadecode.engine.serving.batched_request import BatchedRequest
from adadecode.engine.serving.batched_text import BatchedText
from adadecode.profiles.errors import InputError


class EngineThread:
    """Serves requests in a thread of its own, from `start` until it is closed and none is left.

    The thread holds this object and not the engine, so that an engine that nobody holds any more
    is collected, and can close it. No work is done under the lock that the thread takes at every
    step: texts are prepared before they are queued.

    Attributes:
        decoder: What does the work. While the thread runs, only it calls the decoder's `step`,
            `add` and `cancel`.

    Args:
        decoder: See above.
    """

    def __init__(self, decoder: BatchedDecoder) -> None:
        self.decoder = decoder
        self._news = Condition()
        self._submitted: list[BatchedRequest] = []
        self._leaving: list[BatchedRequest] = []
        self._requests: dict[str, BatchedRequest] = {}
        self._count = 0
        self._closing = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._serve, name="adadecode batched engine", daemon=True)

    # -- for the engine --------------------

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def free_name(self, name: str | None) -> str:
        """Return the name that a request gets, where one more is taken.

        Raises:
            InputError: The name is taken, or the engine failed or is closed.
        """
        if self._error is not None:
            raise InputError(
                f"the engine failed ({type(self._error).__name__}: {self._error}): make another one"
            ) from self._error
        if self._closing:
            raise InputError("the engine is closed: submit within its with block")
        given = f"request {self._count}" if name is None else str(name)
        if given in self._requests:
            raise InputError(
                f"a request named {given!r} is being served: give another name, or none"
            )
        return given

    def queue(self, text: BatchedText, name: str | None) -> BatchedRequest:
        """Queue a text under a name, and return its request. Raises as `free_name` does."""
        with self._news:
            text.sequence.name = self.free_name(name)
            request = BatchedRequest(text, self._cancel)
            self._count += 1
            self._requests[text.name] = request
            self._submitted.append(request)
            self._news.notify_all()
        return request

    def close(self, *, cancel: bool = False) -> None:
        """Take no more requests; those that are there end first, or are cancelled."""
        with self._news:
            self._closing = True
            if cancel:
                self._leaving += self._requests.values()
            self._news.notify_all()

    def join(self) -> None:
        """Wait until nothing is left, once it is closed."""
        self._thread.join()

    def _cancel(self, request: BatchedRequest) -> None:
        with self._news:
            self._leaving.append(request)
            self._news.notify_all()

    # -- in the thread --------------------

    def _serve(self) -> None:
        """Do all the work, until it is closed and nothing is left."""
        try:
            while self._take_news():
                for text in self.decoder.step() or ():
                    self._show(text.name)
        except BaseException as error:  # noqa: BLE001 -- whoever waits for a text gets it
            with self._news:
                self._error = error
                for request in self._requests.values():
                    request.update(over=True, error=error)
                self._requests.clear()

    def _take_news(self) -> bool:
        """Take what was submitted and cancelled, and wait where there is nothing to do.

        Returns:
            Whether there is, or may be, something to do.
        """
        with self._news:
            while True:
                submitted, self._submitted = self._submitted, []
                leaving, self._leaving = self._leaving, []
                for request in submitted:
                    self.decoder.add(request.text)
                for request in leaving:
                    self.decoder.cancel(request.text)
                    if self._requests.get(request.name) is request:
                        del self._requests[request.name]
                        request.update(over=True)
                if not self.decoder.batcher.idle:
                    return True
                if self._closing:
                    return False
                self._news.wait_for(lambda: self._submitted or self._leaving or self._closing)

    def _show(self, name: str) -> None:
        """Show what a text has become; let its request go where it has ended."""
        with self._news:
            request = self._requests[name]
            over = request.text.sequence.done
            if over:
                del self._requests[name]
        request.update(over=over)

"""What a run leaves behind: two files when it is over, and what there is where it is not.

===================  ==============================================================================
``requests.jsonl``   A line for each request, in AIPerf's form, the failed ones included.
``result.json``      The figures, the failures, and what was sent where.
``unfinished.jsonl`` While the run lasts, and where it was interrupted: the lines of the requests
                     that have ended. A first line says so, and keeps every reader from taking it
                     for a whole measurement.
===================  ==============================================================================
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import append_text, json_bytes, write_together
from adadecode.profiles.errors import InputError
from adadecode.profiles.output_folder import remove_empty
from adadecode.sim.serving.metrics.load_metrics import LoadMetrics, measure
from adadecode.sim.serving.observing.observe import Observation

REQUESTS, RESULT, UNFINISHED = "requests.jsonl", "result.json", "unfinished.jsonl"


class RunFiles:
    """The files of one run.

    Attributes:
        folder: Where they are; made with the first of them.
        found: What has become of the requests.
        about: What was sent where.
    """

    def __init__(self, folder: Path, found: Observation, about: Mapping[str, Any]) -> None:
        self.folder, self.found, self.about = folder, found, about
        self._kept = 0

    @property
    def over(self) -> bool:
        """Whether the run is over and its files are whole."""
        return (self.folder / RESULT).exists()

    @property
    def unfinished(self) -> Path:
        """Where requests are kept until the run is over."""
        return self.folder / UNFINISHED

    def keep(self) -> None:
        """Add the requests that have ended since they were kept last. Raises InputError."""
        ended = self.found.requests[self._kept :]
        if not ended or self.over:
            return
        first = "" if self._kept else f"{json.dumps({'unfinished': self.about})}\n"
        append_text(self.unfinished, first + "".join(one.line() for one in ended))
        self._kept += len(ended)

    def finish(self) -> tuple[LoadMetrics, dict[str, Any]]:
        """Write the files of a run that is over.

        Returns:
            The figures, and the document in ``result.json``.

        Raises:
            InputError: If no request was answered, or a file cannot be written.
        """
        found = self.found
        if not found.answered:
            self._discard()
            raise InputError(_all_failed(found))
        self.keep()  # where there is no room for the rest, nothing that was measured is lost
        metrics = measure(found.answered)
        document = {
            **metrics.to_json(),
            "sent": len(found.requests),
            "failures": dict(found.failures),
            "late": found.late,
            "model": found.model,
            **self.about,
        }
        ordered = sorted(found.requests, key=lambda one: one.sent_ns)
        write_together(
            {
                self.folder / REQUESTS: "".join(one.line() for one in ordered),
                self.folder / RESULT: json_bytes(document),
            }
        )
        self.unfinished.unlink(missing_ok=True)
        return metrics, document

    def _discard(self) -> None:
        """Leave the folder as it was: of failures alone nothing can be told."""
        if self._kept:
            self.unfinished.unlink(missing_ok=True)
            remove_empty([self.folder])


def _all_failed(found: Observation) -> str:
    """Return what is said where no request was answered."""
    failures = found.failures
    name, count = failures.most_common(1)[0]
    words = next(
        one.failure.words for one in found.requests if one.failure and one.failure.name == name
    )
    said = f" ({words})" if words else ""
    return (
        f"wanted answers, got none: all {len(found.requests):,} requests failed, {count:,} of them "
        f"with {name!r}{said}; nothing was written: mend the server, the address or the options"
    )

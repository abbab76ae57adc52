"""Kinds of work, and the columns in which the compiled replay counts it."""

from __future__ import annotations

RUN, CHECK, VERIFY, GATE = 0, 1, 2, 3
"""Kinds of work: layers, a head, the last layer's verification, the gate before a head."""

KEYS = ("design", "kind", "start", "stop", "n_tokens", "reuse", "interval")
"""Columns that distinguish one kind of work from another.

A RUN is of layers start..stop-1, a CHECK or GATE of the head at depth start; elsewhere both are 0.
``interval`` is the interval between two marks that the context lies in.
"""

SUMS = ("count", "context", "modelled", "modelled_context", "discarded", "discarded_context")
"""What is counted of each kind of work.

* ``count`` and ``context``: pieces of work, and the sum of their contexts.
* ``modelled`` and ``modelled_context``: both again, in rounds that rest on drawn branches.
* ``discarded`` and ``discarded_context``: tokens that were rolled back, and the sum of the context
  of the piece over these.
"""

TALLY = ("rounds", "tokens", "tested", "drafts", "accepted", "differs")
"""What is counted of each design."""

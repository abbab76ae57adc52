"""Numerics policies: ``native`` computes a batch as it comes, ``canonical`` makes every token the same computation whatever its batch.

A kernel may add in another order where the number of rows is another, so a token that is decided in a batch of deferred ones can differ in its
last bits from the same token decided alone, and flip a near-tie. Canonical passes have one shape: ``ROWS`` rows, the token at position p always in
row p mod ``ROWS``, its keys up to the end of p's bucket of ``BUCKET`` positions. Greedily, vanilla and every design then agree bit for bit;
sampled, a token's probabilities do, but designs draw differently, and so write different texts. Prompts are computed as they come: they are the same
for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

from adadecode.engine.model.attention import attend_packed, current_buffers, implemented
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import DEFAULT_CAP

NUMERICS = ("native", "canonical")
ROWS = DEFAULT_CAP + 1
"""Rows of every canonical pass; a larger batch becomes several."""
BUCKET = 256
"""Positions of a bucket: a row attends over all slots up to the end of its own."""

_NAME = "adadecode-canonical"


def check_numerics(numerics: str) -> None:
    """Raise InputError for a numerics policy that is none of `NUMERICS`."""
    if numerics not in NUMERICS:
        raise InputError(
            f"wanted numerics as one of {', '.join(NUMERICS)}, got {numerics!r}: leave it out for "
            "native"
        )


def take_apart(model: PreTrainedModel, numerics: str) -> SegmentedModel:
    """Take a model apart under a numerics policy.

    Raises:
        InputError: There is no such policy.
        UnsupportedModel: The model cannot be taken apart so.
    """
    check_numerics(numerics)
    return CanonicalModel(model) if numerics == "canonical" else SegmentedModel(model)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """Positions [start, stop), at most ROWS of them, in the rows of one canonical pass.

    order (ROWS,): which of them each row computes; a row without one repeats the first. positions (ROWS,): what each row is told it stands at. back
    (stop - start,): the row of each. ends: where the keys of a row end, one or two. late (ROWS,): the rows of the second.
    """

    start: int
    stop: int
    order: torch.Tensor
    positions: torch.Tensor
    back: torch.Tensor
    ends: tuple[int, ...]
    late: torch.Tensor
    _masks: dict[tuple[int, int | None, int], torch.Tensor] = field(default_factory=dict)
    _moved: dict[torch.device, Pass] = field(default_factory=dict)

    @classmethod
    def of(
        cls, start: int, stop: int, last: int, end: Callable[[int], int], device: torch.device
    ) -> Pass:
        """Of positions [start, stop). last: the highest position there is room for. end: of a position's bucket."""
        n = stop - start
        offsets = [(row - start) % ROWS for row in range(ROWS)]
        ends = tuple(sorted({end(start), end(stop - 1)}))
        return cls(
            start=start,
            stop=stop,
            order=torch.tensor([offset if offset < n else 0 for offset in offsets], device=device),
            positions=torch.tensor(
                [min(start + offset, last) for offset in offsets], device=device
            ),
            back=torch.tensor([position % ROWS for position in range(start, stop)], device=device),
            ends=ends,
            late=torch.tensor([start + offset >= ends[0] for offset in offsets], device=device),
        )

    def on(self, device: torch.device) -> Pass:
        """The same on the device of a layer."""
        if device == self.order.device:
            return self
        if device not in self._moved:
            order, positions, back, late = (
                tensor.to(device) for tensor in (self.order, self.positions, self.back, self.late)
            )
            self._moved[device] = Pass(
                start=self.start,
                stop=self.stop,
                order=order,
                positions=positions,
                back=back,
                ends=self.ends,
                late=late,
            )
        return self._moved[device]

    def mask(self, end: int, window: int | None, groups: int) -> torch.Tensor:
        """Which of the first ``end`` slots each row may see: bool (groups * ROWS, end), shared by the layers."""
        found = self._masks.get((end, window, groups))
        if found is None:
            query = self.positions[:, None]
            slot = torch.arange(end, device=query.device)[None]
            found = slot <= query
            if window:
                found &= slot > query - window
            found = self._masks[end, window, groups] = found.repeat(groups, 1)
        return found


class CanonicalModel(SegmentedModel):
    """A causal LM taken apart, every token's computation the same whatever its batch.

    Raises UnsupportedModel as SegmentedModel does, and where a token's bits depend on its batch all the same.
    """

    def _refuse_by_config(self) -> None:
        super()._refuse_by_config()
        if getattr(self.config, "num_experts_per_tok", None):
            raise self._refuse(
                "in canonical numerics, an expert's batch is what the other tokens leave it; use native numerics"
            )

    def _take_apart(self) -> None:
        super()._take_apart()
        tokens = [(token * 7919 + 5) % self.n_embeddings for token in range(2 * ROWS + 1)]
        self.allocate(len(tokens))
        with self.session():
            alone = self._probe(tokens, range(1, len(tokens) + 1))
            together = self._probe(tokens, [1, 3, len(tokens) - ROWS, len(tokens)])
        if not torch.equal(alone, together):
            raise self._refuse(
                "in canonical numerics, its tokens' bits depend on their batch all the same; use native numerics"
            )

    def _probe(self, tokens: list[int], stops: range | list[int]) -> torch.Tensor:
        """Logits (n, V) of tokens in batches that end at ``stops``, the first half of the layers one token at a time."""
        half, start, found = self.n_layers // 2, 0, []
        for stop in stops:
            shallow = [
                self.run(0, half, self.embed(torch.tensor([[tokens[i]]], device=self.device), i), i)
                for i in range(start, stop)
            ]
            found.append(
                self.logits(self.run(half, self.n_layers, torch.cat(shallow, 1), start), start)[0]
            )
            start = stop
        return torch.cat(found)

    def _end(self, position: int) -> int:
        """Where the bucket of a position ends: after a multiple of BUCKET, or with what the model knows, but the same in every run."""
        end = (position // BUCKET + 1) * BUCKET
        return min([end, *(limit for limit in self.limits if position < limit)])

    def allocate(self, capacity: int) -> None:
        """Room for ``capacity`` positions, to the end of the last one's bucket."""
        super().allocate(self._end(capacity - 1))

    def run(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None = None
    ) -> torch.Tensor:
        """Layers [first, last) on hidden (1, n, d) of positions start.. ; writes their keys and values. A start of 0 is a prompt's."""
        if start == 0:
            return super().run(first, last, hidden, start, clock)
        passes = self._passes(start, hidden.shape[1])
        states = [
            hidden.narrow(1, p.start - start, p.stop - p.start).index_select(
                1, p.on(hidden.device).order
            )
            for p in passes
        ]
        calls = [self._arguments(p.start, p.stop, p.positions) for p in passes]
        with self._in_rows():
            if clock is not None:
                clock.mark()
            for index in range(first, last):
                for at, now in enumerate(passes):
                    self.kv.at(now.start, now.stop)
                    _passing[:] = [now]
                    args, kwargs = calls[at][index]
                    out = self.layers[index](states[at], *args, **kwargs)
                    states[at] = out[0] if isinstance(out, tuple) else out
                if clock is not None:
                    clock.mark()
        return _cat(
            [
                state.index_select(1, now.on(state.device).back)
                for state, now in zip(states, passes, strict=True)
            ]
        )

    def logits(self, hidden: torch.Tensor, start: int = 0) -> torch.Tensor:
        """The model's own logits (1, n, V) in FP32 from hidden states (1, n, d) at depth L of positions start.. ."""
        found = []
        for p in self._passes(start, hidden.shape[1]):
            here = p.on(hidden.device)
            rows = hidden.narrow(1, p.start - start, p.stop - p.start).index_select(1, here.order)
            logits = super().logits(rows, start)
            found.append(logits.index_select(1, p.on(logits.device).back))
        return _cat(found)

    def _passes(self, start: int, n: int) -> list[Pass]:
        return [
            Pass.of(
                begin, min(begin + ROWS, start + n), self.kv.capacity - 1, self._end, self.device
            )
            for begin in range(start, start + n, ROWS)
        ]

    @contextmanager
    def _in_rows(self) -> Iterator[None]:
        try:
            with implemented(self.config, _NAME):
                yield
        finally:
            _passing.clear()


_passing: list[Pass] = []


def _cat(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def attend_in_rows(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one canonical pass. query (1, heads, ROWS, d), key and value (1, kv_heads, ROWS, d); returns (1, ROWS, heads, d).

    Rows without a position write nothing. A row sees as many slots as its bucket has, those after its own position masked; where the rows of a pass
    lie in two buckets, all of them attend over both, and each keeps its own.
    """
    now = _passing[-1].on(query.device)
    keys, values = current_buffers[-1].write(
        module.layer_idx, key.index_select(2, now.back), value.index_select(2, now.back)
    )  # type: ignore[arg-type]
    _, heads, n, width = query.shape
    kv_heads = keys.shape[1]
    groups = heads // kv_heads
    scale = scaling if scaling is not None else width**-0.5
    packed = query.reshape(1, kv_heads, groups * n, width)
    seen = []
    for end in now.ends:
        k, v, mask = (
            keys.narrow(2, 0, end),
            values.narrow(2, 0, end),
            now.mask(end, sliding_window, groups),
        )
        seen.append(attend_packed(packed, k, v, mask, scale, softcap, s_aux, n))
    out = (
        seen[0]
        if len(seen) == 1
        else torch.where(now.late.repeat(groups)[:, None], seen[1], seen[0])
    )
    return out.reshape(1, heads, n, out.shape[-1]).transpose(1, 2), None


AttentionInterface.register(_NAME, attend_in_rows)

"""Numerics policies: ``native`` computes a batch as it comes, ``canonical`` always in one shape.

A kernel may add in another order where the number of rows is another. So a token that is decided in
a batch of deferred ones can differ in its last bits from the same token decided alone, and flip a
near-tie. Canonical passes have one shape: ``ROWS`` rows, the token at position p always in row
p mod ``ROWS``, its keys up to the end of p's bucket of ``BUCKET`` positions. Greedily, vanilla and
every design then agree bit for bit. Sampled, a token's probabilities agree, but designs draw
differently and so write different texts. Prompts are computed as they come: they are the same for
all designs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from adadecode.engine.model.attention import KeyValues, attend_packed
from adadecode.engine.model.few_row_layers import SteadyLinear
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import DEFAULT_CAP

NUMERICS = ("native", "canonical")
ROWS = DEFAULT_CAP + 1
"""Rows of every canonical pass; a larger batch becomes several."""
BUCKET = 256
"""Positions of a bucket: a row attends over all slots up to the end of its own."""


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
class CanonicalPass:
    """Positions [start, stop), at most `ROWS` of them, in the rows of one canonical pass.

    Attributes:
        start: The first position.
        stop: The position after the last one.
        order: Which of the positions each row computes, shape ``(ROWS,)``; a row without one
            repeats the first.
        positions: The position that each row is computed at, shape ``(ROWS,)``.
        back: The row of each position, shape ``(stop - start,)``.
        ends: Where the keys of a row end: one or two slots.
        late: The rows whose keys end at the second of them, shape ``(ROWS,)``.
    """

    start: int
    stop: int
    order: torch.Tensor
    positions: torch.Tensor
    back: torch.Tensor
    ends: tuple[int, ...]
    late: torch.Tensor
    _masks: dict[tuple[int, int | None, int], torch.Tensor] = field(default_factory=dict)
    _moved: dict[torch.device, CanonicalPass] = field(default_factory=dict)

    @classmethod
    def of(
        cls, start: int, stop: int, last: int, end: Callable[[int], int], device: torch.device
    ) -> CanonicalPass:
        """Return the pass over positions [start, stop).

        Args:
            start: The first position.
            stop: The position after the last one.
            last: The highest position that there is room for.
            end: Returns where the bucket of a position ends.
            device: Where its tensors go.
        """
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

    def on(self, device: torch.device) -> CanonicalPass:
        """Return the same pass on the device of a layer."""
        if device == self.order.device:
            return self
        if device not in self._moved:
            order, positions, back, late = (
                tensor.to(device) for tensor in (self.order, self.positions, self.back, self.late)
            )
            self._moved[device] = CanonicalPass(
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
        """Return which of the first ``end`` slots each row may see; shared by the layers.

        The mask is boolean, of shape ``(groups * ROWS, end)``.
        """
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

    Raises:
        UnsupportedModel: As `SegmentedModel` does, and where a token's bits depend on its batch all
            the same.
    """

    linear = SteadyLinear

    def _refuse_by_config(self) -> None:
        super()._refuse_by_config()
        if getattr(self.config, "num_experts_per_tok", None):
            raise self._refuse(
                "in canonical numerics, an expert's batch is what the other tokens leave it; use "
                "native numerics"
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
                "in canonical numerics, its tokens' bits depend on their batch all the same; use "
                "native numerics"
            )

    def _probe(self, tokens: list[int], stops: range | list[int]) -> torch.Tensor:
        """Return the logits ``(n, V)`` of tokens in batches that end at ``stops``.

        The first half of the layers is computed one token at a time.
        """
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
        """Return where the bucket of a position ends, the same in every run.

        It ends after a multiple of BUCKET, or with what the model knows.
        """
        end = (position // BUCKET + 1) * BUCKET
        return min([end, *(limit for limit in self.limits if position < limit)])

    def allocate(self, capacity: int) -> None:
        """Make room for ``capacity`` positions, to the end of the last one's bucket."""
        super().allocate(self._end(capacity - 1))

    def run(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None = None
    ) -> torch.Tensor:
        """Run layers [first, last); see `SegmentedModel.run`. A start of 0 is a prompt's."""
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
        if clock is not None:
            clock.mark()
        for index in range(first, last):
            for at, now in enumerate(passes):
                self.kv.at(now.start, now.stop)
                args, kwargs = calls[at][index]
                with self.attending(partial(attend_in_rows, self.kv, now), 1):
                    out = self.served_layer(index)(states[at], *args, **kwargs)
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
        """Return the model's own logits ``(1, n, V)`` in FP32; see `SegmentedModel.logits`."""
        found = []
        for p in self._passes(start, hidden.shape[1]):
            here = p.on(hidden.device)
            rows = hidden.narrow(1, p.start - start, p.stop - p.start).index_select(1, here.order)
            logits = super().logits(rows, start)
            found.append(logits.index_select(1, p.on(logits.device).back))
        return _cat(found)

    def _passes(self, start: int, n: int) -> list[CanonicalPass]:
        """Return the passes over n positions from ``start`` on."""
        return [
            CanonicalPass.of(
                begin, min(begin + ROWS, start + n), self.kv.capacity - 1, self._end, self.device
            )
            for begin in range(start, start + n, ROWS)
        ]


def _cat(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def attend_in_rows(
    kv: KeyValues,
    now: CanonicalPass,
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
    """Attend in one canonical pass.

    Arguments beyond the pass are those of `adadecode.engine.model.attention.attend`.

    Rows without a position write nothing. A row sees as many slots as its bucket has, with those
    after its own position masked. Where the rows of a pass lie in two buckets, all of them attend
    over both, and each keeps its own.

    Returns:
        The output, shape ``(1, ROWS, heads, d)``, and no weights.
    """
    now, layer = now.on(query.device), int(module.layer_idx)  # type: ignore[arg-type]
    window = kv.sees(layer, attention_mask, sliding_window)
    softcap, s_aux = kv.heeded("softcap", softcap), kv.heeded("s_aux", s_aux)
    keys, values = kv.write(
        layer,
        key.index_select(2, now.back),
        value.index_select(2, now.back),
    )
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
            now.mask(end, window, groups),
        )
        seen.append(attend_packed(packed, k, v, mask, scale, softcap, s_aux, n))
    out = (
        seen[0]
        if len(seen) == 1
        else torch.where(now.late.repeat(groups)[:, None], seen[1], seen[0])
    )
    return out.reshape(1, heads, n, out.shape[-1]).transpose(1, 2).contiguous(), None

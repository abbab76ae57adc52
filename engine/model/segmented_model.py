"""Any causal LM of ``transformers`` as parts that can be run by themselves: embed, layers, logits.

Layers are called with exactly the arguments that the model's own forward pass gives them (rotary
tables, scales), which are recorded once for all positions. The parts are then held against the
model's own logits; a model that differs is refused by name.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from adadecode.engine.model.anatomy import ModelAnatomy
from adadecode.engine.model.attending import Attention, attending_by, without_cudnn
from adadecode.engine.model.attention import KeyValues, attend
from adadecode.engine.model.few_row_layers import FewRowLinear, Served
from adadecode.engine.model.layer_arguments import cut_arguments, position_tensors
from adadecode.engine.model.shadow import uncompiled
from adadecode.engine.model.stand_in import Call
from adadecode.engine.model.window import kept_by_cache, narrower
from adadecode.engine.runtime.free_memory import free_bytes
from adadecode.engine.runtime.timer import Clock
from adadecode.engine.runtime.turns import Turns
from adadecode.profiles.errors import InputError

_PROBE = 12  # tokens of the self-test

Room = tuple[KeyValues, list[Call]]
"""Key/value buffers of one sequence, and every layer's arguments for all of their positions."""

Follow = Callable[[int, torch.Tensor], object]
"""Does what follows a segment, given the depth it ends at and hidden states ``(1, n, d)`` there."""


def most_positions(model: PreTrainedModel) -> int | None:
    """Return how many positions the model was made for by its config; None without a limit."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if limit is None else int(limit)


class SegmentedModel(ModelAnatomy):
    """A causal LM whose segments of layers can be run one by one on the project's own buffers.

    Positions of a call are contiguous: ``[start, start + n)``. Threads take turns: whoever is in a
    session, or asks for room, has these parts alone. The model itself is never changed, so it may
    be used at the same time. Shapes and further attributes are those of `ModelAnatomy`.

    Attributes:
        kv: The key/value buffers in use.
        fallbacks: Why something runs in another way than was requested
            (see `adadecode.engine.model.static_shapes`).
        windows: By layer, how many positions it sees beyond the prompt; None for all.
        turns: Enter it to keep other threads from these parts.

    Raises:
        UnsupportedModel: The model cannot be taken apart exactly; the message names it.
    """

    linear: type[FewRowLinear] = FewRowLinear
    """What the linear parts of its layers are called as, where it is in CPU memory."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._calls: list[Call] = []
        self._served: dict[int, Served] = {}
        self._free: list[Room] = []
        self._returned: deque[Room] = deque()
        self._bytes_per_position: dict[torch.device, float] = {}
        self._kept: dict[int, int] = {}
        self._positional = True  # until it is known
        self.fallbacks: list[str] = []
        self.turns = Turns()
        self._streams: dict[torch.device, Any] = {}  # CUDA streams of the latest session
        super().__init__(model)

    def _take_apart(self) -> None:
        super()._take_apart()
        self.allocate(_PROBE)
        self._self_test()
        self._token = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        self._kept = self.kv.kept = kept_by_cache(self.config)
        self.windows = {
            layer: narrower(window, self._kept.get(layer))
            for layer, window in self.kv.windows.items()
        }
        self._bytes_per_position = _bytes_per_position(
            self.kv, self._calls, self.embed(self._token, 0)
        )
        self._positional = bool(position_tensors(self._calls, self.kv.capacity))

    # -- room for positions --------------------

    def allocate(self, capacity: int) -> None:
        """Make room for ``capacity`` positions.

        The smallest room that holds them is taken. Where none does, a new one takes the place of
        the smallest that is not in use, and of as many more as must go for it to fit into memory.
        Other rooms stay for texts to come.

        Raises:
            InputError: The model has fewer positions, or their keys and values do not fit into free
                memory.
            UnsupportedModel: The model changes with the length of the text.
        """
        with self.turns:
            self._forget_other_attention()
            if capacity > self.kv.capacity:
                self._take_room(capacity)

    def _forget_other_attention(self) -> None:
        """Drop rooms of another attention than the model has now, which heeds other arguments."""
        while self._returned:
            self._free.append(self._returned.popleft())
        self._free = [room for room in self._free if room[0].unheeded == self.unheeded]
        if self.kv.unheeded != self.unheeded:
            self.detach()

    def _take_room(self, capacity: int) -> None:
        """Take the room that fits best, or make one."""
        rooms = sorted(
            [*self._free, *([(self.kv, self._calls)] if self.kv.capacity else [])],
            key=lambda room: room[0].capacity,
        )
        fitting = next((at for at, (kv, _) in enumerate(rooms) if capacity <= kv.capacity), None)
        if fitting is not None:
            self.detach()
            self.kv, self._calls = rooms.pop(fitting)
            self._free = rooms
            return
        wanted = self.capacity_for(capacity)
        outgrown = self._outgrown(wanted, [kv for kv, _ in rooms])
        self._free = rooms[outgrown:]
        rooms.clear()
        self.detach()  # what is outgrown is gone before there is more
        calls = self._record_calls(wanted)
        self.kv = self.buffers(wanted)
        self._calls = calls

    def capacity_for(self, capacity: int) -> int:
        """Return the positions that a new room gets where ``capacity`` are needed.

        Raises:
            InputError: The model has fewer positions.
            UnsupportedModel: The model changes with the length of the text.
        """
        self._refuse_stretched_rotary(capacity)
        odd = capacity | 1  # so that no width of the model is taken for it
        limit = most_positions(self.model)
        if limit is not None and odd > limit and not (self._positional and self._ropes):
            if capacity > limit:
                raise InputError(
                    f"{self.name} has {limit} positions, the text takes {capacity}: shorten the "
                    "prompt or ask for fewer tokens"
                )
            odd = capacity  # learned positions come to no layer, so there is nothing to mistake
        # one position more than a limit, and the arguments of all positions would be others
        return capacity if self._stretching and capacity in self.limits else odd

    def buffers(self, capacity: int) -> KeyValues:
        """Return key/value buffers of ``capacity`` positions."""
        return KeyValues(self.n_layers, capacity, self._kept, self.unheeded)

    def _outgrown(self, positions: int, idle: Sequence[KeyValues]) -> int:
        """Return how many idle buffers give way to new ones: the first if any, or more of them.

        Args:
            positions: Positions of the new ones.
            idle: Buffers that are not in use, in the order in which they go.

        Raises:
            InputError: ``positions`` do not fit into memory even where all go.
        """
        free = {device: free_bytes(device, with_cache=True) for device in self._bytes_per_position}
        released: dict[torch.device, int] = defaultdict(int)
        for count in range(len(idle) + 1):
            for device, nbytes in _bytes_by_device(idle[count - 1] if count else None).items():
                released[device] += nbytes
            short = [
                device
                for device, each in self._bytes_per_position.items()
                if (known := free[device]) is not None
                and positions * each > known + released[device]
            ]
            if not short and (count or not idle):
                return count
        device = short[0]
        each, now = self._bytes_per_position[device], free[device] or 0
        raise InputError(
            f"keys and values of {positions} positions of {self.name} take "
            f"{positions * each / 2**30:,.1f} GiB, {now / 2**30:,.1f} GiB are free on "
            f"{device}: ask for fewer new tokens ({int((now + released[device]) / each):,} "
            "positions fit, prompt included)"
        )

    def calls_of(self, positions: int) -> list[Call]:
        """Return what each layer is called with for so many positions, the first ones of a text."""
        with self.turns:
            return self._record_calls(positions)

    def _record_calls(self, capacity: int) -> list[Call]:
        """Return what the model's own forward pass calls each layer with, for all positions.

        The pass ends at the last layer, so there are no logits.
        """
        stand_ins = self._stand_ins(until=self.n_layers - 1)
        tokens = torch.zeros((1, capacity), dtype=torch.long, device=self.device)
        self._forward_by(self._with(stand_ins), tokens, 0)
        return [stand_in.other_arguments for stand_in in stand_ins]

    @property
    def limits(self) -> list[int]:
        """Numbers of positions beyond which the model is another one, or has none."""
        originals = (rope.get("original_max_position_embeddings") for rope in self._ropes)
        return [int(limit) for limit in (*originals, most_positions(self.model)) if limit]

    def detach(self) -> Room:
        """Hand out the room in use; the next ``allocate`` finds or makes another."""
        room = (self.kv, self._calls)
        self.kv, self._calls = self.buffers(0), []
        return room

    def give_back(self, room: Room) -> None:
        """Take back what ``detach`` handed out, for an ``allocate`` to come.

        It waits for nobody: a stream that was left half-way ends wherever Python collects it.
        """
        self._returned.append(room)

    @contextmanager
    def attached(self, room: Room) -> Iterator[None]:
        """Work in a room that was handed out, and afterwards in the one before."""
        with self.turns:
            before = (self.kv, self._calls)
            try:
                self.kv, self._calls = room
                yield
            finally:
                self.kv, self._calls = before

    @property
    def _ropes(self) -> list[dict[str, Any]]:
        """Parameters of the rotary embeddings: one, or one for each kind of layer, or none."""
        parameters = getattr(self.config, "rope_parameters", None)
        if not isinstance(parameters, dict):
            return []
        return [rope for rope in parameters.values() if isinstance(rope, dict)] or [parameters]

    @property
    def _stretching(self) -> list[dict[str, Any]]:
        """Those of the rotary embeddings that change with the length of the text.

        A config may name some that the layers are not given.
        """
        return [
            rope
            for rope in self._ropes
            if self._positional and rope.get("rope_type") in ("dynamic", "longrope")
        ]

    def _refuse_stretched_rotary(self, capacity: int) -> None:
        """Raise UnsupportedModel beyond the positions at which the rotary embedding changes."""
        for rope in self._stretching:
            original = (
                rope.get("original_max_position_embeddings") or self.config.max_position_embeddings
            )
            if capacity > original:
                raise self._refuse(
                    f"its {rope['rope_type']} rotary embedding changes with the length beyond "
                    f"{original} positions, and the text takes {capacity}"
                )

    # -- the self-test ---------------------------------------------------------------------------

    def _self_test(self) -> None:
        """Hold the parts against the whole: logits of a few tokens, decoded in uneven batches.

        In 16 bits a deep model may know a token so little that rounding alone decides its logits:
        SmolLM2 in BF16 is 112 % off its FP32 logits at one of these tokens, and 1 to 7 % at the
        others. There a quarter of them may differ; parts that are wrong differ at nearly all.

        Raises:
            UnsupportedModel: They differ, or a layer does not attend as it should.
        """
        vocabulary = (
            self.lm_head.weight.shape[0]
            if hasattr(self.lm_head, "weight")
            else self.config.vocab_size
        )
        tokens = (torch.arange(_PROBE, device=self.device)[None] * 7919 + 3) % vocabulary
        own = self._own_forward(tokens, 0).logits[0].double()
        got = self._probe_logits(tokens)
        self._check_windows()
        differences = (got.to(own.device).double() - own).abs().amax(-1)
        tolerance = {torch.float64: 1e-4, torch.float32: 1e-3}.get(self.dtype, 6e-2) * max(
            1.0, float(own.abs().max())
        )
        allowed = 0 if self.dtype in (torch.float64, torch.float32) else _PROBE // 4
        if int((differences <= tolerance).sum()) < _PROBE - allowed:
            raise self._refuse(
                f"taken apart, its logits differ by {float(differences.max()):.2g} from its own"
            )

    def _probe_logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(n, V)`` of tokens ``(1, n)`` in batches of 5, 1, 3 and 3."""
        half = self.n_layers // 2
        got = []
        with self.session():
            for start, stop in ((0, 5), (5, 6), (6, 9), (9, _PROBE)):
                hidden = torch.cat(
                    [
                        self.run(0, half, self.embed(tokens[:, i : i + 1], i), i)
                        for i in range(start, stop)
                    ],
                    1,
                )
                got.append(self.logits(self.run(half, self.n_layers, hidden, start))[0])
        return torch.cat(got)

    def _check_windows(self) -> None:
        """Raise UnsupportedModel where a layer may see a window that nothing told of.

        Layers that attend under a mask of `transformers` are known (see
        `adadecode.engine.model.window`); of others only the config speaks.
        """
        types = getattr(self.config, "layer_types", None) or []
        slides = getattr(self.config, "use_sliding_window", not types) and getattr(
            self.config, "sliding_window", None
        )
        hidden = [
            layer
            for layer in self.kv.undescribed
            if not self.kv.windows[layer]
            and (slides if layer >= len(types) else types[layer] == "sliding_attention")
        ]
        if hidden:
            raise self._refuse(
                "its layers see only a window of the text, which their attention is not given"
            )

    # -- the parts --------------------

    @contextmanager
    def session(self) -> Iterator[None]:
        """Allow ``embed``, ``run`` and ``logits``, once other threads are done with theirs."""
        with ExitStack() as stack:
            stack.enter_context(self.turns)
            stack.enter_context(torch.inference_mode())
            on_cuda = [device for device in self.devices if device.type == "cuda"]
            if on_cuda:
                stack.enter_context(without_cudnn.needed())
            for device in on_cuda:
                self._follow_stream(device)
            yield

    def _follow_stream(self, device: torch.device) -> None:
        """Let the thread's CUDA stream wait for that of the latest session, for its buffers."""
        now, before = torch.cuda.current_stream(device), self._streams.get(device)
        if before is not None and before != now:
            now.wait_stream(before)
        self._streams[device] = now

    @contextmanager
    def attending(self, attention: Attention, layers: int) -> Iterator[None]:
        """Let so many layers that are called within attend by a function.

        Raises:
            UnsupportedModel: They did not, because the model changed since it was taken apart, or
                attends in another way than through the registry.
        """
        with attending_by(attention) as now:
            yield
        if now.calls != layers:
            raise self._refuse(
                f"{now.calls} of {layers} layer calls attended through the attention registry"
            )

    def forget(self) -> None:
        """Drop what a pass leaves for the next one over the same positions.

        No text comes back to its positions, but a timed walk does.
        """

    @property
    def timing(self) -> str:
        """How marked layers are timed."""
        if len(self.devices) > 1:
            return "host clock, all devices waited for at every layer"
        return "host clock" if self.device.type == "cpu" else "events between layers"

    @property
    def graphs_bytes(self) -> int:
        """Bytes held by captured graphs (see `adadecode.engine.model.cuda_graphs`)."""
        return 0

    def prepare(self, segments: Sequence[tuple[int, int]], longest: int, follow: Follow) -> None:
        """Compile and capture what the first runs of these segments would otherwise make.

        Eagerly there is nothing to make.

        Args:
            segments: First and last layer (exclusive) of each segment.
            longest: Positions of the longest text. There must be room for it already.
            follow: What is done after a segment.
        """

    def embed(self, tokens: torch.Tensor, start: int) -> torch.Tensor:
        """Return hidden states ``(1, n, d)`` at depth 0 of tokens ``(1, n)`` from ``start`` on."""
        return self._embed(tokens, start)

    def embed_rows(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return hidden states ``(1, n, d)`` at depth 0 of tokens of any sequences.

        Args:
            tokens: Token ids, shape ``(n,)``.
            positions: The position of each in its own sequence, shape ``(n,)``.
        """
        return self._embed(tokens[:, None], positions[:, None]).transpose(0, 1)

    def embed_one(self, token: int, start: int) -> torch.Tensor:
        """Return hidden states ``(1, 1, d)`` at depth 0 of one token.

        The token is written on the device, so no copy from the host has to be waited for.
        """
        return self.embed(self._token.fill_(token), start)

    def run(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None = None
    ) -> torch.Tensor:
        """Run layers [first, last) and write their keys and values.

        Args:
            first: The first layer.
            last: The layer after the last one.
            hidden: Hidden states at depth ``first``, shape ``(1, n, d)``.
            start: Position of the first of them.
            clock: Marked before the first layer and after each, to time layers in place.

        Returns:
            Hidden states at depth ``last``, shape ``(1, n, d)``.
        """
        stop = start + hidden.shape[1]
        self.kv.at(start, stop)
        calls = self._arguments(start, stop)
        if clock is not None:
            clock.mark()
        with self.attending(partial(attend, self.kv), last - first):
            for index in range(first, last):
                args, kwargs = calls[index]
                out = self.served_layer(index)(hidden, *args, **kwargs)
                hidden = out[0] if isinstance(out, tuple) else out
                if clock is not None:
                    clock.mark()
        return hidden

    def _arguments(self, start: int, stop: int, rows: torch.Tensor | None = None) -> list[Call]:
        """Return every layer's arguments for positions [start, stop), or for those of ``rows``."""
        return cut_arguments(self._calls, self.kv.capacity, start, stop, rows)

    def served_layer(self, index: int) -> nn.Module:
        """Return a layer as it is called: its products of few rows may be ours."""
        return self._served_part(index, self.layers[index])

    def _served_part(self, number: int, own: nn.Module) -> nn.Module:
        """Return a part of the model as it is called, kept under a number."""
        if self.device.type != "cpu":
            return uncompiled(own)
        found = self._served.get(number)
        if found is None:
            found = self._served[number] = Served(own, self.linear)
        return found.of(own)

    def unembed(self, normed: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(1, n, V)`` in FP32 of what ``normed`` returns."""
        return self.finish(self._served_part(self.n_layers, self.lm_head)(normed)).float()

    def logits(self, hidden: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Return the model's own logits ``(1, n, V)`` in FP32.

        Args:
            hidden: Hidden states at the last depth, shape ``(1, n, d)``.
            start: Position of the first of them, which matters in canonical numerics only.
        """
        return self.unembed(self.normed(hidden))

    def read(
        self,
        work: Callable[[torch.Tensor], torch.Tensor],
        hidden: torch.Tensor,
        owner: object,
        name: str,
    ) -> list[Any]:
        """Return what ``work`` computes from hidden states as numbers, reading the device once.

        Args:
            work: Takes hidden states ``(1, n, d)`` and returns a tensor of n rows.
            hidden: The hidden states.
            owner: Whose work it is, for a model that keeps graphs of it.
            name: The name of this work, which no other of the owner has.
        """
        found: list[Any] = work(hidden).tolist()
        return found


def _bytes_per_position(
    kv: KeyValues, calls: Sequence[Call], embedded: torch.Tensor
) -> dict[torch.device, float]:
    """Return the most bytes that a position takes at once on each device.

    These are its keys, values and layers' arguments. While the arguments are recorded there are no
    keys and values yet, but embeddings, which a model may hold twice, as they were and scaled.

    Args:
        kv: The key/value buffers.
        calls: The layers' arguments for all of their positions.
        embedded: Embeddings, shape ``(1, n, d)``.
    """
    held: dict[torch.device, float] = defaultdict(float)
    for device, nbytes in _bytes_by_device(kv).items():
        held[device] += nbytes / kv.capacity
    held[embedded.device] = max(held[embedded.device], 2 * embedded.nbytes / embedded.shape[1])
    for tensor in position_tensors(calls, kv.capacity):
        held[tensor.device] += tensor.nbytes / kv.capacity
    return dict(held)


def _bytes_by_device(kv: KeyValues | None) -> dict[torch.device, int]:
    """Return the bytes that key/value buffers hold on each device."""
    held: dict[torch.device, int] = defaultdict(int)
    for tensor in () if kv is None else (*kv.keys, *kv.values):
        if tensor is not None:
            held[tensor.device] += tensor.nbytes
    return dict(held)

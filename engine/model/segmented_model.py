"""Any causal LM of ``transformers`` as parts: embed, layers[i:j], final norm, LM head. No branch per architecture.

What a model does around its layers is *measured*, not assumed: its own forward pass is run once with stand-ins for the
layers, which record the exact arguments every layer is given (rotary tables, scales), and what follows the last layer is
found by watching. The result is then held against the model's own logits; a model that differs is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from adadecode.engine.model.attention import KeyValues, attending
from adadecode.engine.runtime.environment import out_of_memory
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.errors import InputError, UnsupportedModel

_SERVED_LAYER_TYPES = {"full_attention", "sliding_attention", "attention"}
_PROBE = 12  # tokens of the self-test


Call = tuple[tuple[Any, ...], dict[str, Any]]
"""What a layer is called with, its hidden state left out."""

Room = tuple[KeyValues, list[Call]]
"""Buffers for one sequence, and every layer's arguments for all of their positions."""

Follow = Callable[[int, torch.Tensor], object]
"""What is done after a segment, given the depth it ends at and hidden (1, n, d) there."""


class _StandIn(nn.Module):
    """Takes a layer's place in the model's own forward pass: records the arguments, passes the hidden state on (or another)."""

    def __init__(
        self, layer: nn.Module, *, in_tuple: bool, replacement: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        self.__dict__["layer"] = layer  # not a submodule: the stand-in owns no weights
        self.__dict__["replacement"] = replacement
        self.in_tuple = in_tuple
        self.call: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["layer"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.call = (args, kwargs)
        hidden = self.__dict__["replacement"]
        if hidden is None:
            hidden = args[0] if args else kwargs["hidden_states"]
        return (hidden,) if self.in_tuple else hidden


def most_positions(model: PreTrainedModel) -> int | None:
    """How many positions the model was made for, as its config has it; None where it has no such limit."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if limit is None else int(limit)


class SegmentedModel:
    """A causal LM taken apart. Raises UnsupportedModel, naming the model, where that cannot be done exactly.

    n_layers: L. hidden_size: d. device: where tokens go. devices: all that hold weights. Hidden states are (1, n, d); positions are contiguous
    [start, start + n). fallbacks: why something runs in another way than was asked for (`adadecode.engine.model.static_shapes`).
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.name = f"{type(model).__name__} ({model.config.model_type})"
        self.config = model.config.get_text_config()
        self._refuse_by_config()
        self._owner, self._attribute, self.layers = self._find_layers()
        self.n_layers = len(self.layers)
        self.hidden_size = int(self.config.hidden_size)
        self.device = next(model.parameters()).device
        self.devices = tuple(
            dict.fromkeys((self.device, *(weight.device for weight in model.parameters())))
        )
        self.dtype = next(
            p.dtype for p in self.layers.parameters() if p.is_floating_point()
        )  # quantised weights come with others that are not
        self.kv = KeyValues(self.n_layers, 0)
        self._calls: list[Call] = []
        self._free: list[Room] = []
        self.fallbacks: list[str] = []
        self._token = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        try:
            with torch.inference_mode():
                self._take_apart()
        except UnsupportedModel:
            raise
        except Exception as error:  # whatever it is, this model cannot be taken apart this way
            if out_of_memory(error):
                raise
            raise self._refuse(
                f"taking it apart failed ({type(error).__name__}: {error})"
            ) from error

    def _take_apart(self) -> None:
        self._in_tuple = self._layers_return_tuples()
        self._tail = self._find_tail()
        self.lm_head = self.model.get_output_embeddings()
        self.finish = self._find_finish()
        self.allocate(_PROBE)
        self._embed = self._find_embedding()
        self.n_embeddings = int(self.model.get_input_embeddings().weight.shape[0])
        self._self_test()

    # -- what is served ----------------------------------------------------------------------------------------------

    def _refuse(self, why: str) -> UnsupportedModel:
        return UnsupportedModel(
            f"{self.name} cannot be served: {why}; wanted a decoder-only model whose layers attend through the attention registry"
        )

    def _refuse_by_config(self) -> None:
        if getattr(self.model.config, "is_encoder_decoder", False):
            raise self._refuse("it is an encoder-decoder")
        odd = set(getattr(self.config, "layer_types", None) or ()) - _SERVED_LAYER_TYPES
        if odd:
            raise self._refuse(
                f"its layers of type {', '.join(sorted(odd))} keep a state that cannot roll back or a mask of their own"
            )
        if getattr(self.config, "num_kv_shared_layers", 0):
            raise self._refuse("its layers share keys and values with one another")

    def _find_layers(self) -> tuple[nn.Module, str, nn.ModuleList]:
        """The module list of the decoder's layers, and who holds it."""
        wanted = getattr(self.config, "num_hidden_layers", None)
        for module in self.model.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.ModuleList) and len(child) == wanted:
                    return module, name, child
        raise self._refuse(f"no list of {wanted} layers was found in it")

    def _layers_return_tuples(self) -> bool:
        """Whether a layer returns (hidden, ...) or the hidden state alone."""
        found: list[bool] = []
        handle = self.layers[0].register_forward_hook(
            lambda _m, _a, out: found.append(isinstance(out, tuple))
        )
        try:
            self._own_forward(torch.zeros((1, 3), dtype=torch.long, device=self.device), 0)
        finally:
            handle.remove()
        return found[0]

    @contextmanager
    def _standing_in(self, replacement: torch.Tensor | None = None) -> Iterator[list[_StandIn]]:
        """Within: the layers are stand-ins; the last one returns ``replacement`` where given."""
        stand_ins = [_StandIn(layer, in_tuple=self._in_tuple) for layer in self.layers]
        stand_ins[-1] = _StandIn(self.layers[-1], in_tuple=self._in_tuple, replacement=replacement)
        setattr(self._owner, self._attribute, nn.ModuleList(stand_ins))
        try:
            with attending(self.model, self.kv):
                yield stand_ins
        finally:
            setattr(self._owner, self._attribute, self.layers)

    def _own_forward(self, tokens: torch.Tensor, start: int) -> Any:
        """The model's own forward pass (no cache) on tokens (1, n) from position ``start``."""
        positions = torch.arange(start, start + tokens.shape[1], device=self.device)[None]
        try:
            return self.model(input_ids=tokens, position_ids=positions, use_cache=False)
        except Exception as error:  # whatever it is, this model cannot be taken apart this way
            if out_of_memory(error):
                raise
            raise self._refuse(
                f"its forward pass failed without a cache ({type(error).__name__}: {error})"
            ) from error

    # -- before the layers -------------------------------------------------------------------------------------------

    def allocate(self, capacity: int) -> None:
        """Room for ``capacity`` positions: the smallest there is that has it, or fresh buffers in place of the smallest one that is not in use."""
        if capacity <= self.kv.capacity:
            return
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
        calls = self._record_calls(wanted)
        self._free = rooms[1:]
        rooms.clear()
        self.detach()  # what is outgrown is gone before there is more
        self.kv = self.buffers(wanted)
        self._calls = calls

    def capacity_for(self, capacity: int) -> int:
        """The positions that a new room gets where ``capacity`` are needed. Raises InputError, UnsupportedModel where the model has not as many."""
        self._refuse_stretched_rotary(capacity)
        odd = capacity | 1  # so that no width of the model is taken for it
        limit = most_positions(self.model)
        if limit is not None and odd > limit and not getattr(self.config, "rope_parameters", None):
            if capacity > limit:
                raise InputError(
                    f"{self.name} has {limit} positions, {capacity} were asked for: shorten the prompt or ask for fewer tokens"
                )
            odd = capacity  # learned positions come to no layer, so there is nothing to mistake
        return (
            capacity if self._stretches and capacity in self.limits else odd
        )  # one more, and every position's arguments would be others

    def buffers(self, capacity: int) -> KeyValues:
        """Keys and values of ``capacity`` positions."""
        return KeyValues(self.n_layers, capacity)

    def _record_calls(self, capacity: int) -> list[Call]:
        with self._standing_in() as stand_ins:
            self._own_forward(torch.zeros((1, capacity), dtype=torch.long, device=self.device), 0)
        return [
            (s.call[0][1:], {k: v for k, v in s.call[1].items() if k != "hidden_states"})
            for s in stand_ins
        ]

    @property
    def limits(self) -> list[int]:
        """Numbers of positions beyond which the model is another or there is none."""
        known = (self._rope.get("original_max_position_embeddings"), most_positions(self.model))
        return [int(limit) for limit in known if limit]

    def detach(self) -> Room:
        """Hand out the buffers and their arguments; the next ``allocate`` finds or makes others."""
        room = (self.kv, self._calls)
        self.kv, self._calls = KeyValues(self.n_layers, 0), []
        return room

    def give_back(self, room: Room) -> None:
        """Take back what ``detach`` handed out, for an ``allocate`` to come."""
        self._free.append(room)

    @contextmanager
    def attached(self, room: Room) -> Iterator[None]:
        """Within: the parts work on buffers that were handed out."""
        before = (self.kv, self._calls)
        self.kv, self._calls = room
        try:
            yield
        finally:
            self.kv, self._calls = before

    @property
    def _rope(self) -> dict[str, Any]:
        """Parameters of its rotary embedding; none where it has no such embedding."""
        told = getattr(self.config, "rope_parameters", None)
        return told if isinstance(told, dict) else {}

    @property
    def _stretches(self) -> bool:
        """Whether its rotary embedding changes with the length of the text."""
        return self._rope.get("rope_type") in ("dynamic", "longrope")

    def _refuse_stretched_rotary(self, capacity: int) -> None:
        if not self._stretches:
            return
        original = (
            self._rope.get("original_max_position_embeddings")
            or self.config.max_position_embeddings
        )
        if capacity > original:
            raise self._refuse(
                f"its {self._rope['rope_type']} rotary embedding changes with the length beyond {original} positions, and {capacity} were asked for"
            )

    def _arguments(
        self, start: int, stop: int, rows: torch.Tensor | None = None
    ) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Every layer's arguments for positions [start, stop), or for those of ``rows``, cut from the recorded ones; layers with the same share one copy."""
        capacity = self.kv.capacity
        cut: dict[int, torch.Tensor] = {}

        def slice_(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                found = cut.get(id(value))
                if found is None:
                    found = value
                    for axis, size in enumerate(value.shape):
                        if size == capacity:
                            found = (
                                found.narrow(axis, start, stop - start)
                                if rows is None
                                else found.index_select(axis, rows.to(found.device))
                            )
                    cut[id(value)] = found
                return found
            if isinstance(value, (tuple, list)):
                return type(value)(slice_(v) for v in value)
            if isinstance(value, dict):
                return {k: slice_(v) for k, v in value.items()}
            return value

        sliced: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        shared: dict[tuple[int, ...], tuple[tuple[Any, ...], dict[str, Any]]] = {}
        for args, kwargs in self._calls:
            key = (*map(id, args), *map(id, kwargs.values()))
            if key not in shared:
                shared[key] = (slice_(args), slice_(kwargs))
            sliced.append(shared[key])
        return sliced

    def _embed_by_model(self, tokens: torch.Tensor, start: int) -> torch.Tensor:
        with self._standing_in() as stand_ins:
            self._own_forward(tokens, start)
        args, kwargs = stand_ins[0].call
        hidden: torch.Tensor = args[0] if args else kwargs["hidden_states"]
        return hidden

    def _find_embedding(self) -> Callable[[torch.Tensor, int], torch.Tensor]:
        """The embedding table alone, where the model adds nothing to it; else the model's own forward pass up to layer 0."""
        table = self.model.get_input_embeddings()
        tokens = torch.arange(1, 5, device=self.device)[None]
        if all(torch.equal(self._embed_by_model(tokens, start), table(tokens)) for start in (0, 5)):
            return lambda tokens, start: table(tokens)
        return self._embed_by_model

    # -- after the layers --------------------------------------------------------------------------------------------

    def _find_tail(self) -> list[nn.Module]:
        """The modules (norms, projections) that the model's body applies after its last layer, in order."""
        seen: list[nn.Module] = []
        body = self._owner
        names = {child: name for name, child in body.named_children()}
        handles = [
            child.register_forward_hook(lambda m, *_: seen.append(m))
            for child in names
            if child is not self.layers
        ]
        probe = torch.zeros((1, 3), dtype=torch.long, device=self.device)
        try:
            with self._standing_in() as stand_ins:
                handles += [stand_ins[-1].register_forward_hook(lambda *_: seen.clear())]
                self._own_forward(probe, 0)
        finally:
            for handle in handles:
                handle.remove()
        return seen

    def _find_finish(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """What the model does to its LM head's output: nothing, a constant factor, or a soft cap. Held against its own logits."""
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn((1, 3, self.hidden_size), generator=generator, dtype=torch.float64).to(
            self.device, self.dtype
        )
        with self._standing_in(hidden):
            own = self._own_forward(
                torch.zeros((1, 3), dtype=torch.long, device=self.device), 0
            ).logits
        raw = self.lm_head(self.normed(hidden)).to(
            own.device
        )  # of a model on several devices, the last one's
        factor = float((own.double() * raw.double()).sum() / raw.double().square().sum())
        cap = getattr(self.config, "final_logit_softcapping", None)
        candidates: list[Callable[[torch.Tensor], torch.Tensor]] = [
            lambda x: x,
            lambda x: x * factor,
        ]
        if cap:
            candidates.insert(0, lambda x: torch.tanh(x / cap) * cap)
        tolerance = 1e-4 if self.dtype in (torch.float32, torch.float64) else 2e-2
        for candidate in candidates:
            if torch.allclose(
                candidate(raw).double(),
                own.double(),
                rtol=tolerance,
                atol=tolerance * float(own.abs().max()),
            ):
                return candidate
        raise self._refuse(
            "what it does after its last layer could not be reproduced from its final norm and LM head"
        )

    def _self_test(self) -> None:
        """Hold the parts against the whole: logits of a few tokens, decoded in uneven batches. Raises UnsupportedModel."""
        vocabulary = (
            self.lm_head.weight.shape[0]
            if hasattr(self.lm_head, "weight")
            else self.config.vocab_size
        )
        tokens = (torch.arange(_PROBE, device=self.device)[None] * 7919 + 3) % vocabulary
        own = self._own_forward(tokens, 0).logits[0].double()
        half = self.n_layers // 2
        got = []
        with self.session():
            self.kv.writes = 0
            for start, stop in ((0, 5), (5, 6), (6, 9), (9, _PROBE)):
                hidden = torch.cat(
                    [
                        self.run(0, half, self.embed(tokens[:, i : i + 1], i), i)
                        for i in range(start, stop)
                    ],
                    1,
                )
                got.append(self.logits(self.run(half, self.n_layers, hidden, start))[0])
            expected = half * _PROBE + (self.n_layers - half) * 4
        if self.kv.writes != expected:
            raise self._refuse(
                f"{self.kv.writes} of {expected} layer calls attended through the attention registry"
            )
        types = getattr(self.config, "layer_types", None) or []
        slides = getattr(self.config, "use_sliding_window", not types) and getattr(
            self.config, "sliding_window", None
        )
        untold = [
            i
            for i, kind in enumerate(types)
            if kind == "sliding_attention" and not self.kv.windows.get(i)
        ]
        if untold or (slides and not any(self.kv.windows.values())):
            raise self._refuse(
                "its layers see only a window of the text, of which their attention is not told"
            )
        difference = float((torch.cat(got).to(own.device).double() - own).abs().max())
        tolerance = {torch.float64: 1e-4, torch.float32: 1e-3}.get(self.dtype, 6e-2) * max(
            1.0, float(own.abs().max())
        )
        if not difference <= tolerance:
            raise self._refuse(f"taken apart, its logits differ by {difference:.2g} from its own")

    # -- the parts ---------------------------------------------------------------------------------------------------

    @contextmanager
    def session(self) -> Iterator[None]:
        """Within: ``embed``, ``run`` and ``logits`` may be called. Afterwards the model is as the user gave it."""
        with torch.inference_mode(), attending(self.model, self.kv):
            yield

    def forget(self) -> None:
        """Drop what a pass leaves for the next over the same positions: no text comes back to them, but a timed walk does."""

    @property
    def timing(self) -> str:
        """How marked layers are timed."""
        if len(self.devices) > 1:
            return "host clock, all devices waited for at every layer"
        return "host clock" if self.device.type == "cpu" else "events between layers"

    @property
    def graphs_bytes(self) -> int:
        """Bytes held by captured graphs (`adadecode.engine.model.cuda_graphs`)."""
        return 0

    def prepare(self, segments: Sequence[tuple[int, int]], longest: int, follow: Follow) -> None:
        """Make ready what else would be made in the first runs of these segments and of what follows them, for positions up to ``longest``.

        Eagerly there is nothing to make.
        """

    def embed(self, tokens: torch.Tensor, start: int) -> torch.Tensor:
        """Hidden states (1, n, d) at depth 0 of tokens (1, n) at positions start, start + 1, ..."""
        return self._embed(tokens, start)

    def embed_one(self, token: int, start: int) -> torch.Tensor:
        """Hidden states (1, 1, d) at depth 0 of one token, which is written on the device: no copy from the host waits."""
        return self.embed(self._token.fill_(token), start)

    def run(
        self, first: int, last: int, hidden: torch.Tensor, start: int, clock: Clock | None = None
    ) -> torch.Tensor:
        """Layers [first, last) on hidden (1, n, d) of positions start.. ; writes their keys and values.

        ``clock`` is marked before the first layer and after each (for timing in place).
        """
        stop = start + hidden.shape[1]
        self.kv.at(start, stop)
        calls = self._arguments(start, stop)
        if clock is not None:
            clock.mark()
        for index in range(first, last):
            args, kwargs = calls[index]
            out = self.layers[index](hidden, *args, **kwargs)
            hidden = out[0] if isinstance(out, tuple) else out
            if clock is not None:
                clock.mark()
        return hidden

    def normed(self, hidden: torch.Tensor) -> torch.Tensor:
        """The final norm, and whatever else stands between the last layer and the LM head."""
        for module in self._tail:
            hidden = module(hidden)
        return hidden

    def unembed(self, normed: torch.Tensor) -> torch.Tensor:
        """Logits (1, n, V) in FP32 from what ``normed`` returns."""
        return self.finish(self.lm_head(normed)).float()

    def logits(self, hidden: torch.Tensor, start: int = 0) -> torch.Tensor:
        """The model's own logits (1, n, V) in FP32 from hidden states (1, n, d) at depth L of positions start.. (of no matter but in canonical numerics)."""
        return self.unembed(self.normed(hidden))

    def read(
        self,
        work: Callable[[torch.Tensor], torch.Tensor],
        hidden: torch.Tensor,
        owner: object,
        name: str,
    ) -> list[Any]:
        """What ``work`` makes of hidden (1, n, d), n rows, as numbers: one read from the device.

        owner, name: tell this work from all other of the owner's, for a model that keeps graphs of it.
        """
        found: list[Any] = work(hidden).tolist()
        return found

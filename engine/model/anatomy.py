"""What a causal LM of ``transformers`` does around its layers, measured instead of assumed.

There is no branch per architecture. The model's own forward pass is run with stand-ins for the
layers, and what follows the last layer is found by watching it. Both are done to a shadow of the
model, so that other threads may use it meanwhile. A model that differs from what was
found is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from adadecode.engine.model.attending import attending_by
from adadecode.engine.model.attention import KeyValues, attend, unheeded_by
from adadecode.engine.model.shadow import exchanged, is_compiled, original, shadow
from adadecode.engine.model.stand_in import PassEnded, StandIn
from adadecode.engine.model.window import UnknownMask
from adadecode.engine.runtime.environment import out_of_memory
from adadecode.profiles.errors import UnsupportedModel

_SERVED_LAYER_TYPES = {"full_attention", "sliding_attention", "chunked_attention", "attention"}
"""Kinds of layers of which a few tokens and the model's own masks show what they do."""


class ModelAnatomy:
    """A causal LM taken apart: its embedding, its layers, what follows them, and its LM head.

    Hidden states are tensors of shape ``(1, n, d)``.

    Attributes:
        model: The model itself.
        name: Its class and type, for messages.
        config: Its text config.
        layers: Its layers, and ``n_layers`` how many (L).
        hidden_size: The width d of hidden states.
        n_embeddings: How many tokens it embeds.
        device: Where tokens go.
        devices: All devices that hold weights.
        dtype: The dtype of the layers.
        lm_head: The LM head.
        finish: What the model does to the output of its LM head: nothing, a factor or a soft cap.

    Raises:
        UnsupportedModel: The model cannot be taken apart exactly; the message names it.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model = original(model)
        self.name = f"{type(model).__name__} ({model.config.model_type})"
        self.config = model.config.get_text_config()
        self._refuse_by_config()
        self._owner, self.layers = self._find_layers()
        self.n_layers = len(self.layers)
        self.hidden_size = int(self.config.hidden_size)
        self.device = next(model.parameters()).device
        self.devices = tuple(
            dict.fromkeys((self.device, *(weight.device for weight in model.parameters())))
        )
        # quantised weights come with others that are not floating-point
        self.dtype = next(p.dtype for p in self.layers.parameters() if p.is_floating_point())
        self.kv = self.buffers(0)
        try:
            with torch.inference_mode():
                self._take_apart()
        except UnsupportedModel:
            raise
        except UnknownMask as error:
            raise self._refuse(self._why_unknown(error)) from error
        except Exception as error:  # whatever it is, this model cannot be taken apart this way
            if out_of_memory(error):
                raise
            raise self._refuse(
                f"taking it apart failed ({type(error).__name__}: {error})"
            ) from error

    @property
    def unheeded(self) -> frozenset[str]:
        """Arguments of attention that the model, as it attends now, does not heed."""
        return unheeded_by(self.config._attn_implementation)

    def _take_apart(self) -> None:
        self._in_tuple = self._layers_return_tuples()
        self.tail_modules = self._find_tail()
        self.lm_head = self.model.get_output_embeddings()
        self.finish = self._find_finish()
        self._embed = self._find_embedding()
        self.n_embeddings = int(self.model.get_input_embeddings().weight.shape[0])

    def buffers(self, capacity: int) -> KeyValues:
        """Return key/value buffers of ``capacity`` positions."""
        return KeyValues(self.n_layers, capacity, unheeded=self.unheeded)

    def normed(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the final norm, and whatever else stands between the last layer and the LM head."""
        for module in self.tail_modules:
            hidden = module(hidden)
        return hidden

    def unembed(self, normed: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(1, n, V)`` in FP32 of what ``normed`` returns."""
        return self.finish(self.lm_head(normed)).float()

    # -- what is served --------------------

    def _refuse(self, why: str) -> UnsupportedModel:
        return UnsupportedModel(
            f"{self.name} cannot be served: {why}; wanted a decoder-only model whose layers attend "
            "through the attention registry"
        )

    def _why_unknown(self, error: UnknownMask) -> str:
        """Return why nobody knows what a layer sees."""
        for name, part in self.layers.named_modules():
            if is_compiled(part):
                return (
                    f"part {name} of its layers is compiled by torch.compile: compile whole layers"
                )
        return str(error)

    def _refuse_by_config(self) -> None:
        """Raise UnsupportedModel where the config alone says that the model cannot be served."""
        if getattr(self.model.config, "is_encoder_decoder", False):
            raise self._refuse("it is an encoder-decoder")
        if self.model.get_output_embeddings() is None:
            raise self._refuse("it has no language-modelling head")
        odd = set(getattr(self.config, "layer_types", None) or ()) - _SERVED_LAYER_TYPES
        if odd:
            raise self._refuse(
                f"its layers of type {', '.join(sorted(odd))} keep a state that cannot roll back "
                "or a mask of their own"
            )
        if getattr(self.config, "num_kv_shared_layers", 0):
            raise self._refuse("its layers share keys and values with one another")

    # -- its own forward pass --------------------

    def _find_layers(self) -> tuple[nn.Module, nn.ModuleList]:
        """Return the module that holds the decoder's layers, and the list of them.

        The decoder comes first: a model of images and text has layers elsewhere too.
        """
        wanted = getattr(self.config, "num_hidden_layers", None)
        for module in (*self.model.get_decoder().modules(), *self.model.modules()):
            for child in module.children():
                if isinstance(child, nn.ModuleList) and len(child) == wanted:
                    return module, child
        raise self._refuse(f"no list of {wanted} layers was found in it")

    def _layers_return_tuples(self) -> bool:
        """Return whether a layer returns ``(hidden, ...)`` and not the hidden states alone."""
        found: list[bool] = []
        first = shadow(self.layers[0])
        first.register_forward_hook(lambda _m, _a, out: found.append(isinstance(out, tuple)))
        layers = nn.ModuleList([first, *list(self.layers)[1:]])
        self._own_forward(
            torch.zeros((1, 3), dtype=torch.long, device=self.device),
            0,
            exchanged(self.model, {self.layers: layers}),
        )
        if not found:
            raise self._refuse(
                "its forward method was set to a function that calls the model by itself, not by "
                "the modules within: delete that attribute (of the model or of a part)"
            )
        return found[0]

    def _stand_ins(
        self, replacement: torch.Tensor | None = None, *, until: int | None = None
    ) -> list[StandIn]:
        """Return stand-ins for the layers.

        Args:
            replacement: What the last one returns in place of its hidden states.
            until: The layer at which a pass ends; None to run it to its end.
        """
        last = self.n_layers - 1
        return [
            StandIn(
                layer,
                in_tuple=self._in_tuple,
                replacement=replacement if index == last else None,
                ends=index == until,
            )
            for index, layer in enumerate(self.layers)
        ]

    def _with(
        self, stand_ins: Sequence[StandIn], parts: Mapping[nn.Module, nn.Module] | None = None
    ) -> nn.Module:
        """Return a shadow of the model with stand-ins for its layers.

        Args:
            stand_ins: The stand-ins.
            parts: What else stands in the place of what.
        """
        return exchanged(self.model, {**(parts or {}), self.layers: nn.ModuleList(stand_ins)})

    def _forward_by(self, by: nn.Module, tokens: torch.Tensor, start: int | torch.Tensor) -> Any:
        """Run the model's own forward pass by a shadow with stand-ins.

        Args:
            by: The shadow.
            tokens: Token ids, shape ``(1, n)``, or ``(n, 1)`` of n sequences.
            start: Position of the first of them, or that of each, in the shape of ``tokens``.

        Returns:
            What the model returns; None where a stand-in ended the pass.
        """
        with attending_by(partial(attend, self.kv)), suppress(PassEnded):
            return self._own_forward(tokens, start, by)

    def _own_forward(
        self, tokens: torch.Tensor, start: int | torch.Tensor, by: nn.Module | None = None
    ) -> Any:
        """Run the model's own forward pass, without a cache; arguments are those of `_forward_by`.

        It is that of ``by`` where a shadow of the model is to run it.
        """
        model = self.model if by is None else by
        positions = (
            start
            if isinstance(start, torch.Tensor)
            else torch.arange(start, start + tokens.shape[1], device=self.device)[None]
        )
        try:
            return model(input_ids=tokens, position_ids=positions, use_cache=False)
        except (PassEnded, UnknownMask):
            raise
        except Exception as error:  # whatever it is, this model cannot be taken apart this way
            if out_of_memory(error):
                raise
            raise self._refuse(
                f"its forward pass failed without a cache ({type(error).__name__}: {error})"
            ) from error

    # -- before the layers --------------------

    def _find_embedding(self) -> Callable[[torch.Tensor, int | torch.Tensor], torch.Tensor]:
        """Return the embedding table, or the forward pass up to layer 0 where that adds to it."""
        table = self.model.get_input_embeddings()
        stand_ins = self._stand_ins(until=0)
        by = self._with(stand_ins)

        def by_the_model(tokens: torch.Tensor, start: int | torch.Tensor) -> torch.Tensor:
            self._forward_by(by, tokens, start)
            return stand_ins[0].hidden

        tokens = torch.arange(1, 5, device=self.device)[None]
        if all(torch.equal(by_the_model(tokens, start), table(tokens)) for start in (0, 5)):
            return lambda tokens, start: table(tokens)
        return by_the_model

    # -- after the layers --------------------

    def _find_tail(self) -> list[nn.Module]:
        """Return the modules that the model's body applies after its last layer, in order."""
        seen: list[nn.Module] = []

        def watched(child: nn.Module) -> nn.Module:
            made = shadow(child)
            made.register_forward_hook(lambda *_: seen.append(child))
            return made

        others = [child for child in self._owner.children() if child is not self.layers]
        stand_ins = self._stand_ins()
        stand_ins[-1].register_forward_hook(lambda *_: seen.clear())
        probe = torch.zeros((1, 3), dtype=torch.long, device=self.device)
        by = self._with(stand_ins, {child: watched(child) for child in others})
        self._forward_by(by, probe, 0)
        return seen

    def _find_finish(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return what the model does to its LM head's output, by comparing with its own logits."""
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn((1, 3, self.hidden_size), generator=generator, dtype=torch.float64).to(
            self.device, self.dtype
        )
        probe = torch.zeros((1, 3), dtype=torch.long, device=self.device)
        own = self._forward_by(self._with(self._stand_ins(hidden)), probe, 0).logits
        # a model on several devices gives its logits on the last one
        raw = self.lm_head(self.normed(hidden)).to(own.device)
        factor = float((own.double() * raw.double()).sum() / raw.double().square().sum())
        cap = getattr(self.config, "final_logit_softcapping", None)
        candidates: list[Callable[[torch.Tensor], torch.Tensor]] = [
            lambda x: x,
            lambda x: x * factor,
        ]
        if cap:
            candidates.append(lambda x: torch.tanh(x / cap) * cap)
        tolerance = 1e-4 if self.dtype in (torch.float32, torch.float64) else 2e-2
        # a cap that the model leaves out differs little on small logits, so the nearest is taken
        errors = [
            float((candidate(raw).double() - own.double()).abs().max()) for candidate in candidates
        ]
        best = min(range(len(candidates)), key=errors.__getitem__)
        if torch.allclose(
            candidates[best](raw).double(),
            own.double(),
            rtol=tolerance,
            atol=tolerance * float(own.abs().max()),
        ):
            return candidates[best]
        raise self._refuse(
            "what it does after its last layer could not be reproduced from its final norm and LM "
            "head"
        )

"""Parameters and FLOPs of each component of a network, which do not depend on the machine.

FLOP = 2 MAC throughout: a product of (m, k) and (k, n) matrices has 2 m k n. Only matrix products
and convolutions are counted, as in `torch.utils.flop_counter`. The dense CRF of the boundary loss
consists of gathers and is not counted, but its time is measured elsewhere. FLOPs are counted on
torch's `meta` device, which does no arithmetic, so that paper size takes seconds on any machine.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from weakclip.network.decoder import FPNDecoder
from weakclip.network.matching import text_to_pixel_scores
from weakclip.ops.parameters import count_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor, nn

    from weakclip.network.model import WeakCLIP
    from weakclip.network.pyramid import Level

TEXT = "text tower"
"""The component that is computed once per batch; the others are computed once per image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """FLOPs of one batch."""

    forward: int
    backward: int


def components(model: WeakCLIP) -> dict[str, nn.Module]:
    """The components whose costs are reported; they are disjoint and contain all weights."""
    decoder: dict[str, nn.Module] = {"decoder": model.decoder}
    if isinstance(model.decoder, FPNDecoder):
        decoder = {"fpn": model.decoder.neck, "head": model.decoder.head}
    return {
        "image tower": model.image_tower,
        TEXT: model.text_tower,
        "prompt": model.prompt,
        "adapter": model.adapter,
        "matching": model.matching,
        **decoder,
    }


def parameter_counts(model: WeakCLIP) -> dict[str, dict[str, int]]:
    """Component -> {"total", "trainable"} numbers of parameters."""
    return count_parameters(components(model))


def flop_costs(model: WeakCLIP, count: int, side: int) -> dict[str, Flops]:
    """Component -> FLOPs in a training step on `count` images of `side` x `side` pixels.

    Each component is run separately, on inputs that require gradients exactly where they do in
    training, so that its forward and backward costs are known. Those of the prompt are included in
    the text tower. The model is moved to torch's `meta` device and put in training mode.
    """
    model.to("meta").train()
    images = torch.empty(count, 3, side, side, device="meta")
    with counted():
        return _stages(model, images)


def total(costs: Iterable[Flops]) -> Flops:
    """The sum of costs."""
    costs = list(costs)
    return Flops(
        forward=sum(cost.forward for cost in costs), backward=sum(cost.backward for cost in costs)
    )


@contextmanager
def counted() -> Iterator[None]:
    """Compute attention by plain matrix products in a block, so that all FLOPs are counted."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _stages(model: WeakCLIP, images: Tensor) -> dict[str, Flops]:
    with FlopCounterMode(display=False) as encoding:
        features = model.encode(images)
    costs = {"image tower": Flops(forward=encoding.get_total_flops(), backward=0)}
    (text,), costs[TEXT] = _measure(lambda: (model.text(),))
    levels: list[Level] = []  # work that the adapter leaves to the decoder is counted there

    def sources() -> list[Tensor]:
        levels.extend(model.adapter(features.taps))
        return [level.source for level in levels]

    cut, costs["adapter"] = _measure(sources)
    pyramid = tuple(replace(a, source=b) for a, b in zip(levels, cut, strict=True))

    def pair() -> tuple[Tensor, Tensor]:
        matched = model.matching(text, features.global_embedding, features.dense_embedding)
        return matched.dense, matched.text

    (dense, updated), costs["matching"] = _measure(pair)
    (scores,), costs["score map"] = _measure(lambda: (text_to_pixel_scores(dense, updated),))
    if not isinstance(model.decoder, FPNDecoder):
        _, costs["decoder"] = _measure(lambda: (model.decoder(pyramid, scores),))
        return costs
    neck, head = model.decoder.neck, model.decoder.head
    given: list[tuple[Tensor, ...]] = []
    handle = neck.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    model.decoder(pyramid, scores)
    handle.remove()
    merged, costs["fpn"] = _measure(lambda: neck(given[0]))
    _, costs["head"] = _measure(lambda: (head(merged),))
    return costs


def _measure(run: Callable[[], Sequence[Tensor]]) -> tuple[tuple[Tensor, ...], Flops]:
    """Detached outputs, which require gradients where the outputs did, and their cost."""
    with FlopCounterMode(display=False) as forward:
        outputs = tuple(run())
    wanted = [output for output in outputs if output.grad_fn is not None]
    with FlopCounterMode(display=False) as backward:
        if wanted:
            torch.autograd.backward(wanted, [torch.ones_like(output) for output in wanted])
    cut = tuple(output.detach().requires_grad_(output.requires_grad) for output in outputs)
    flops = Flops(forward=forward.get_total_flops(), backward=backward.get_total_flops())
    return cut, flops

"""What a network costs whatever it runs on: parameters and FLOPs of each component.

FLOP = 2 MAC throughout: a product of (m, k) and (k, n) matrices is 2 m k n. Only matrix products
and convolutions count, as in `torch.utils.flop_counter`; the dense CRF of the boundary loss is
gathers and is not among them (its share is seen in the times). They are counted on torch's `meta`
device, which does no arithmetic, so paper size takes seconds on any machine.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.cost.subject import LibraryStep, make_subject, random_batch
from weakclip.network.decoder import FPNDecoder
from weakclip.network.matching import text_to_pixel_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn

    from bench.cost.subject import Subject
    from weakclip.config import WeakCLIPConfig
    from weakclip.network.matching import Matched
    from weakclip.network.model import WeakCLIP
    from weakclip.network.pyramid import Level, Pyramid


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Numbers of weights."""

    total: int
    trainable: int
    dead: int
    """Trainable, but a backward pass of all losses leaves their tensor without a gradient, or
    with one that is zero everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """Of one image; the text is computed once a batch, whatever its size."""

    forward: int
    backward: int


def components(model: WeakCLIP) -> dict[str, nn.Module]:
    """The parts that costs are told of; they are disjoint and hold all weights."""
    decoder: dict[str, nn.Module] = {"decoder": model.decoder}
    if isinstance(model.decoder, FPNDecoder):
        decoder = {"fpn": model.decoder.neck, "head": model.decoder.head}
    return {
        "image tower": model.image_tower,
        "text tower": model.text_tower,
        "prompt": model.prompt,
        "adapter": model.adapter,
        "matching": model.matching,
        **decoder,
    }


def parameter_costs(subject: Subject, size: str) -> dict[str, Parameters]:
    """Parameters of each component, the dead ones found by one training step.

    Args:
        subject: A network of `size` on a real device; its weights move by a step.
        size: Decides the images of the step.
    """
    LibraryStep(subject)(random_batch(size, 1, subject.model.image_tower.vision.proj.device.type))
    return {name: _count(module) for name, module in components(subject.model).items()}


def flop_costs(config: WeakCLIPConfig, size: str, count: int = 1) -> dict[str, Flops]:
    """FLOPs of each component in a training step of `count` images.

    Each component runs apart, on inputs that carry gradients exactly where they do in training;
    so what a component costs backward is seen beside what it costs forward. The prompt's are the
    text tower's.

    Raises:
        BenchError: If there is no such size.
    """
    subject = make_subject(config, size)
    model = subject.model.to("meta").train()
    images = random_batch(size, count).images.to("meta")
    with counted():
        return _stages(model, images)


def whole_flops(config: WeakCLIPConfig, size: str, count: int = 1) -> Flops:
    """FLOPs of a training step of `count` images, counted in one piece, not by component."""
    subject = make_subject(config, size)
    model = subject.model.to("meta").train()
    images = random_batch(size, count).images.to("meta")
    with counted():
        with FlopCounterMode(display=False) as forward:
            output = model(model.encode(images))
        loss = output.logits.sum() + output.score_map.sum()
        return Flops(forward=forward.get_total_flops(), backward=_backward([loss]))


@contextmanager
def counted() -> Iterator[None]:
    """Attention as plain matrix products, so that the counter sees all of them."""
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
    (text,), costs["text tower"] = _measure(lambda: (model.text(),))
    pyramid, costs["adapter"] = _measure_levels(lambda: model.adapter(features.taps))
    matched, costs["matching"] = _measure(
        lambda: _pair(model.matching(text, features.global_embedding, features.dense_embedding))
    )
    (scores,), costs["score map"] = _measure(lambda: (text_to_pixel_scores(*matched),))
    if not isinstance(model.decoder, FPNDecoder):
        _, costs["decoder"] = _measure(lambda: (model.decoder(pyramid, scores),))
        return costs
    neck, head = model.decoder.neck, model.decoder.head
    guided = _input_of(neck, lambda: model.decoder(pyramid, scores))
    levels, costs["fpn"] = _measure(lambda: neck(guided))
    _, costs["head"] = _measure(lambda: (head(levels),))
    return costs


def _measure_levels(run: Callable[[], Pyramid]) -> tuple[Pyramid, Flops]:
    """`_measure` of an adapter. What it leaves to the reader of its levels is counted there."""
    levels: list[Level] = []

    def sources() -> list[Tensor]:
        levels.extend(run())
        return [level.source for level in levels]

    cut, cost = _measure(sources)
    pairs = zip(levels, cut, strict=True)
    return tuple(replace(level, source=source) for level, source in pairs), cost


def _pair(matched: Matched) -> tuple[Tensor, Tensor]:
    return matched.dense, matched.text


def _input_of(module: nn.Module, run: Callable[[], object]) -> tuple[Tensor, ...]:
    """What `module` is given while `run` runs."""
    seen: list[tuple[Tensor, ...]] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run()
    handle.remove()
    return seen[0]


def _measure(run: Callable[[], Sequence[Tensor]]) -> tuple[tuple[Tensor, ...], Flops]:
    """Outputs cut from their past, asking for gradients where they did, and what they cost."""
    with FlopCounterMode(display=False) as forward:
        outputs = tuple(run())
    cut = tuple(output.detach().requires_grad_(output.requires_grad) for output in outputs)
    return cut, Flops(forward=forward.get_total_flops(), backward=_backward(outputs))


def _backward(outputs: Sequence[Tensor]) -> int:
    wanted = [output for output in outputs if output.grad_fn is not None]
    if not wanted:
        return 0
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward(wanted, [torch.ones_like(output) for output in wanted])
    return int(counter.get_total_flops())


def _count(module: nn.Module) -> Parameters:
    parameters = list(module.parameters())
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    dead = [p for p in trainable if p.grad is None or not bool(p.grad.any())]
    return Parameters(
        total=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in trainable),
        dead=sum(parameter.numel() for parameter in dead),
    )

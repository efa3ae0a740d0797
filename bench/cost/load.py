"""One line of the profile: what is timed, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

BaselineWork = Literal["cam", "refinement", "mask"]
Work = Literal["forward", "training step", "text"] | BaselineWork
BASELINE_WORK: tuple[BaselineWork, ...] = ("cam", "refinement", "mask")
"""Image and tags to maps; image, tags and maps to scores; image to mask."""
LEAST_REPEATS = 2
Precision = Literal["fp32", "bf16", "fp16"]
Mode = Literal["eager", "compiled"]
Status = Literal["ok", "out of memory", "failed", "timed out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is timed, in a process of its own."""

    study: str
    variant: str
    size: str
    """`micro` or `paper`."""
    work: Work
    """`forward`: logits at the size of the images, text computed before, no gradients.
    `training step`: encoding, losses, backward pass, optimiser. `BASELINE_WORK`: a baseline's.
    `text`: embeddings of all prompts and the gradients of their context."""
    batch: int
    side: int | None = None
    """Of the images, pixels; none: the size's own."""
    classes: int | None = None
    """With background; none: the size's own."""
    precision: Precision = "fp32"
    """Of `torch.autocast`; the weights stay in float32."""
    mode: Mode = "eager"
    device: str = "cpu"
    threads: int = 1
    repeats: int = 5
    """Most calls that are timed."""
    seconds: float = 10.0
    """After so many seconds of timed calls none is begun; `LEAST_REPEATS` are made anyway."""
    warmup: int = 1
    """Calls that are not timed; one more, before them, counts the traffic and may do alone."""

    def __post_init__(self) -> None:
        few = self.repeats < LEAST_REPEATS
        if self.batch < 1 or few or self.warmup < 0 or self.threads < 1:
            raise ValueError(
                "load: expected a batch and threads of at least 1 and 2 repeats, got "
                f"batch {self.batch}, warm-up {self.warmup}, threads {self.threads}, "
                f"{self.repeats} repeats"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a load; unknowns are none."""

    status: Status
    error: str | None = None
    milliseconds: tuple[float, ...] = ()
    """Of each timed call, in order."""
    traffic_bytes: int | None = None
    """Read and written by the operators of one eager call if none found its input in a cache."""
    peak_memory_mib: float | None = None
    """CPU: most memory the process ever held, the interpreter and torch included; CUDA: most
    that tensors held."""
    base_memory_mib: float | None = None
    """CPU: the same before the network was made."""
    energy_joules: float | None = None
    """Of all timed calls together, the whole GPU's."""
    flops: int | None = None
    """Of one call: matrix products and convolutions as carried out, FLOP = 2 MAC."""
    component_flops: dict[str, int] | None = None
    """Shares of `flops`, of one call: a product belongs to the component whose weights it uses, one
    without weights to the component whose weights were used last."""
    parameters: dict[str, dict[str, int]] | None = None
    """A baseline's component -> {"total", "trainable"}; `make_baselines` adds "dead"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A load made ready."""

    call: Callable[[], object]
    """What is timed."""
    parts: tuple[nn.Module, ...] = ()
    """What torch.compile takes, inner ones first."""
    parameters: dict[str, dict[str, int]] | None = None
    """See `Measured`."""
    components: Mapping[str, nn.Module] = field(default_factory=dict)
    """A baseline's parts, by the names in `parameters`."""

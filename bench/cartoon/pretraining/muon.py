"""The optimisers of pretraining: Muon, with orthogonalised momentum updates, and AdamW.

`torch.optim.Muon` treats a fused query-key-value weight as one matrix. Here its three matrices are
orthogonalised separately, and matrices of equal shape share one batched Newton-Schulz iteration,
which makes the step fast on a CPU.

References:
    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from weakclip.clip.micro import MicroCLIP

MAX_SCALE = math.log(60)
FINAL_RATE = 0.05


class Muon:
    """Muon for matrices, (n, m); a matrix in `fused` is three stacked ones, (3n, m).

    Args:
        matrices: Parameters of rank 2.
        fused: Parameters of rank 2 with stacked query, key and value weights.
        momentum: Decay of the gradient average (Nesterov).
        weight_decay: Decoupled weight decay, multiplied by the learning rate.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        fused: Iterable[Tensor],
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.02,
    ) -> None:
        self.parameters = [(p, 1) for p in matrices] + [(p, 3) for p in fused]
        self.averages = [torch.zeros_like(p) for p, _ in self.parameters]
        self.momentum = momentum
        self.weight_decay = weight_decay

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Apply one update to every parameter that has a gradient."""
        groups: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for (parameter, parts), average in zip(self.parameters, self.averages, strict=True):
            if parameter.grad is None:
                continue
            average.lerp_(parameter.grad, 1 - self.momentum)
            update = parameter.grad.lerp(average, self.momentum)
            for target, piece in zip(parameter.chunk(parts), update.chunk(parts), strict=True):
                groups.setdefault(target.shape, []).append((target, piece))
        for shape, pairs in groups.items():
            updates = orthogonalise(torch.stack([piece for _, piece in pairs]))
            scale = learning_rate * max(1.0, shape[0] / shape[1]) ** 0.5
            for (target, _), update in zip(pairs, updates, strict=True):
                target.mul_(1 - learning_rate * self.weight_decay).add_(update, alpha=-scale)

    def state_dict(self) -> dict[str, Tensor]:
        """The momentum averages, by position."""
        return {str(index): average for index, average in enumerate(self.averages)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the averages from a `state_dict`."""
        for index, average in enumerate(self.averages):
            average.copy_(state[str(index)])


def orthogonalise(matrices: Tensor, *, steps: int = 5) -> Tensor:
    """Push the singular values of each matrix towards 1 by a quintic Newton-Schulz iteration.

    Args:
        matrices: (B, n, m), any scale.
        steps: Iterations; five leave the singular values within about [0.7, 1.2].

    Returns:
        (B, n, m), same singular vectors.
    """
    result = matrices / (matrices.flatten(1).norm(dim=1).view(-1, 1, 1) + 1e-7)
    tall = result.shape[1] > result.shape[2]
    if tall:
        result = result.transpose(1, 2).contiguous()
    for _ in range(steps):
        gram = torch.bmm(result, result.transpose(1, 2))
        poly = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        result = torch.baddbmm(result, poly, result, beta=3.4445)
    turned: Tensor = result.transpose(1, 2) if tall else result
    return turned


def update(
    model: MicroCLIP,
    loss: Tensor,
    adamw: torch.optim.AdamW,
    muon: Muon,
    rates: tuple[float, float],
) -> float:
    """Do one step of both optimisers with learning rates (AdamW's, Muon's); return the loss."""
    adamw.zero_grad(set_to_none=True)
    for parameter, _ in muon.parameters:
        parameter.grad = None
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in adamw.param_groups:
        group["lr"] = rates[0]
    adamw.step()
    muon.step(rates[1])
    with torch.no_grad():
        model.logit_scale.clamp_(0, MAX_SCALE)
    return float(loss.detach())


def optimisers(model: MicroCLIP) -> tuple[Muon, torch.optim.AdamW]:
    """Muon for the blocks' matrices, AdamW for all others (weight decay on matrices only)."""
    named = list(model.named_parameters())
    blocks = [(n, p) for n, p in named if "resblocks" in n and p.ndim == 2]
    fused = [p for n, p in blocks if n.endswith("in_proj_weight")]
    plain = [p for n, p in blocks if not n.endswith("in_proj_weight")]
    taken = {id(p) for _, p in blocks}
    rest = [p for _, p in named if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": 0.05},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    return Muon(plain, fused), torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


def cosine(progress: float) -> float:
    """Factor on a learning rate after a fraction of the steps: from 1 down to `FINAL_RATE`."""
    return 0.5 * (1 + math.cos(math.pi * progress)) * (1 - FINAL_RATE) + FINAL_RATE

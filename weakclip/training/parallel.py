"""Processes that train one network together, each on its share of every batch.

torchrun starts them and sets their ranks. N processes end with the weights that one process would
get with the whole batch, for four reasons:

* gradients are averaged after the backward pass; every loss is a mean over images of one size, so
  the mean of the shares' losses is the loss of the batch;
* the one loss that is normalised by a count over the batch uses the count of all processes
  (`Processes.per_process`);
* batch norms use mean and variance over all processes, forward and backward (`SharedBatchNorm2d`;
  torch's own requires a GPU);
* all start from the weights of process 0.

Prompts and texts do not depend on the batch and are computed in every process. Only dropout
differs: each process draws its own, as a function of (seed, step, process).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import distributed as dist
from torch import nn

from weakclip.data.artifacts import making
from weakclip.ops.precision import at_least_single

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

Item = TypeVar("Item")

PATIENCE = timedelta(hours=12)
"""Longest wait for the slowest process, which may have many large images."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together; with one process, no method does anything."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the common files."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items of this process: every `count`-th one.

        Example:
            >>> Processes(1, 2).share([5, 6, 7])
            [6]
        """
        return items[self.rank :: self.count]

    def check_batch(self, size: int) -> None:
        """Check that a batch can be divided equally among the processes.

        Raises:
            ValueError: If its size is not a multiple of the number of processes.
        """
        if size % self.count:
            raise ValueError(
                f"training batch of {size} images: expected a multiple of the {self.count} "
                f"processes; start as many as divide {size}"
            )

    def wait(self) -> None:
        """Wait until all processes have arrived here."""
        if self.count > 1:
            dist.barrier()

    def gather(self, value: Item) -> list[Item]:
        """The values of all processes in order of rank, in every process."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Mean of each value over the processes; names and their order must be the same."""
        if self.count == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.count).tolist(), strict=True))

    def per_process(self, count: Tensor) -> Tensor:
        """A count over the whole batch, at least 1, divided by the number of processes.

        If each process divides its sum by it, the mean over processes is the mean of the batch.

        Args:
            count: Count over this process's images, a scalar.
        """
        if self.count == 1:
            return count.clamp(min=1)
        total = count.clone()
        dist.all_reduce(total)
        return total.clamp(min=1) / self.count

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes, in one reduction."""
        gradients = [each.grad for each in parameters if each.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(
            gradients, torch.split(flat, [each.numel() for each in gradients]), strict=True
        ):
            gradient.copy_(mean.view_as(gradient))

    @torch.no_grad()
    def align(self, components: Iterable[nn.Module], step: int) -> None:
        """Give all processes the weights of the first one, and share their batch norms.

        Args:
            components: Modules to train, changed in place. Their batch norms stay shared after
                training; in evaluation mode they act as ordinary ones.
            step: Steps done.

        Raises:
            ValueError: If the processes have done different numbers of steps.
        """
        if self.count == 1:
            return
        steps = self.gather(step)
        if len(set(steps)) > 1:
            raise ValueError(
                f"training: expected processes that have done equally many steps, got {steps}; "
                "they must see the same folder of results"
            )
        for component in components:
            _share_norms(component, self.count)
            for tensor in (*component.parameters(), *component.buffers()):
                dist.broadcast(tensor, 0)

    def reseed(self, seed: int, step: int) -> None:
        """Seed this step's dropout differently in each process."""
        if self.count > 1:
            state = np.random.SeedSequence([seed, step, self.rank]).generate_state(1)
            torch.manual_seed(int(state[0]))


ALONE = Processes()


@contextmanager
def torchrun_processes() -> Iterator[Processes]:
    """The processes started by torchrun, connected; `ALONE` without torchrun.

    CPU tensors are exchanged by gloo, GPU tensors by NCCL.
    """
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_rank() -> int:
    """Rank of this process on its machine, which selects its GPU; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the images of all processes; each must have equally many, of one size."""

    count: int
    """Number of processes."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d, count: int) -> SharedBatchNorm2d:
        """A shared batch norm for `count` processes, with the same weights and statistics."""
        shared = cls(norm.num_features, eps=norm.eps, momentum=norm.momentum, device="meta")
        shared._parameters, shared._buffers = norm._parameters, norm._buffers
        shared.count = count
        return shared.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """Normalised features (B, C, h, w); training mode updates the running statistics."""
        if not self.training:
            return super().forward(input)
        values = at_least_single(input)  # bfloat16 statistics in float32, as in torch's batch norm
        mean = _mean_over(values.mean(dim=(0, 2, 3)), self.count)
        centred = values - mean[:, None, None]
        variance = _mean_over(centred.square().mean(dim=(0, 2, 3)), self.count)
        self._track(mean, variance, self.count * input.numel() // input.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, cells: int) -> None:
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * cells / (cells - 1), self.momentum)


class _Sum(torch.autograd.Function):
    """Sum over processes; the backward pass sums their gradients."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def _mean_over(values: Tensor, count: int) -> Tensor:
    """Mean of values (C,) over the processes; differentiable."""
    return cast("Tensor", _Sum.apply(values)) / count


def _share_norms(module: nn.Module, count: int) -> None:
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            setattr(module, name, SharedBatchNorm2d.of(child, count))
        else:
            _share_norms(child, count)


@contextmanager
def together(product: Path, processes: Processes) -> Iterator[None]:
    """Hold the lock of a product for processes that make it together.

    A process that works alone waits for the lock; of several that work together, the first one
    holds it and the others wait for the first.
    """
    if processes.first:
        with making(product):
            processes.wait()
            yield
            processes.wait()
    else:
        processes.wait()
        yield
        processes.wait()

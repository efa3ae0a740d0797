"""The `--device` flag of the commands."""

from __future__ import annotations

import torch

from weakclip.training.execution import full_float32
from weakclip.training.parallel import local_rank


def device_of(name: str) -> torch.device:
    """The device of a flag; for a GPU, TF32 is disabled and the process's own GPU is selected.

    Raises:
        ValueError: If there is no such device, or fewer GPUs than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: no CUDA device here; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device(name)
    if local_rank() >= torch.cuda.device_count():
        raise ValueError(
            f"{torch.cuda.device_count()} GPU(s) here: expected one for each process; start fewer "
            "(--nproc-per-node), or use --device cpu"
        )
    full_float32()
    torch.cuda.set_device(local_rank())
    return torch.device("cuda", local_rank())

"""A CLIP of a few thousand random weights, no download, and a picture that is too large."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Protocol

import pytest
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from weakclip.clip.bundle import CLIPBundle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

torch.set_num_threads(1)  # more threads than free cores make tiny tensors a hundred times slower

CONTEXT, START, END = 16, 48, 49
NAMES = ("background", "cat", "dog", "red bus")


class ClipFactory(Protocol):
    """Makes tiny CLIPs."""

    def __call__(self, *, pool: str = "tok", final_norm_after_pool: bool = False) -> CLIP: ...


@pytest.fixture
def make_open_clip() -> ClipFactory:
    """Patch 8, 32 pixels (a 4 x 4 grid), width 32, 4 blocks, E = 16."""

    def make(*, pool: str = "tok", final_norm_after_pool: bool = False) -> CLIP:
        torch.manual_seed(7)
        clip = CLIP(
            16,
            CLIPVisionCfg(
                layers=4,
                width=32,
                head_width=8,
                patch_size=8,
                image_size=32,
                pool_type=pool,
                final_ln_after_pool=final_norm_after_pool,
            ),
            CLIPTextCfg(context_length=CONTEXT, vocab_size=END + 1, width=24, heads=4, layers=2),
        )
        for parameter in clip.parameters():  # LayerNorms that do something
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, mean=0.5, std=0.5)
        return clip.eval()

    return make


@pytest.fixture
def clip(make_open_clip: ClipFactory) -> CLIPBundle:
    return CLIPBundle.from_open_clip(
        make_open_clip(),
        tokenize,
        mean=(120.0, 115.0, 105.0),
        std=(70.0, 68.0, 72.0),
        name="tiny",
        sha256="0" * 64,
    )


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def bomb() -> Callable[[Path], None]:
    """Writes a 20,000 x 20,000 PNG of 49 kB."""

    def write(path: Path) -> None:
        header = struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0)
        rows = zlib.compress(bytes(2501 * 20000), 1)
        chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", rows), _chunk(b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))

    return write


def tokenize(texts: Sequence[str]) -> Tensor:
    rows = torch.zeros(len(texts), CONTEXT, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        words = [1 + sum(map(ord, word)) % (START - 1) for word in text.split()]
        row[: len(words) + 2] = torch.tensor([START, *words, END])
    return rows


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum

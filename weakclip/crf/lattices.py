"""The lattices of a batch of images: the part of a dense CRF that depends only on images and terms.

They are separate from the inference, so that a training loop can build them once for a fixed set of
images, keep them per image, and combine those of any batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import torch

from weakclip.crf.permutohedral import Lattice, join
from weakclip.crf.permutohedral_build import build_lattice
from weakclip.crf.terms import Bilateral, CRFConfig, Gaussian
from weakclip.ops.shapes import dims

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

Result = TypeVar("Result")

_CACHED_PIXELS = 1 << 18  # position-only lattices of at most this many pixels are cached


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lattices:
    """The lattices of B images of one size, one per term, for any number of calls.

    Indexing gives the lattices of one image; a training loop can keep these and pass them as a
    list. A term that depends only on positions has one lattice for all images, stored once.
    """

    height: int
    width: int
    terms: tuple[Lattice, ...]
    kinds: tuple[tuple[float, ...], ...]
    images: int

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, image: int) -> Lattices:
        if not -self.images <= image < self.images:
            raise IndexError(f"image {image} of the lattices of {self.images} images")
        terms = tuple(
            lattice if len(kind) == 1 else lattice[image]
            for kind, lattice in zip(self.kinds, self.terms, strict=True)
        )
        return replace(self, terms=terms, images=1)

    def __iter__(self) -> Iterator[Lattices]:
        return (self[image] for image in range(self.images))

    def to(self, device: torch.device | str) -> Lattices:
        """The same lattices on `device`."""
        return replace(self, terms=tuple(lattice.to(device) for lattice in self.terms))

    @property
    def vertices(self) -> int:
        """Number of vertices of all terms and images."""
        pairs = zip(self.kinds, self.terms, strict=True)
        return sum(x.vertices * (self.images if len(kind) == 1 else 1) for kind, x in pairs)

    @property
    def nbytes(self) -> int:
        """Bytes of the image-dependent lattices; position-only ones are shared."""
        pairs = zip(self.kinds, self.terms, strict=True)
        return sum(lattice.nbytes for kind, lattice in pairs if len(kind) > 1)


def kind_of(term: Gaussian | Bilateral) -> tuple[float, ...]:
    """Parameters of a term on which its lattice depends."""
    return (term.sxy,) if isinstance(term, Gaussian) else (term.sxy, term.srgb)


def _positions(
    height: int, width: int, sxy: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Pixel positions (x/sxy, y/sxy), (2, H*W)."""
    rows, columns = (
        _over(torch.arange(side, dtype=dtype, device=device), sxy) for side in (height, width)
    )
    return torch.stack([columns.repeat(height), rows.repeat_interleave(width)])


def _features(images: Tensor, term: Bilateral, dtype: torch.dtype) -> Tensor:
    """Positions and colours of images (B, 3, H, W), divided by their deviations, (B, 5, H*W)."""
    count, _, height, width = images.shape
    features = images.new_empty(count, 5, height * width, dtype=dtype)
    features[:, :2] = _positions(height, width, term.sxy, dtype, images.device)
    _over(images.flatten(2).to(dtype), term.srgb, out=features[:, 2:])
    return features


def _over(values: Tensor, deviation: float, out: Tensor | None = None) -> Tensor:
    """Values divided by their standard deviation, as a tensor.

    CUDA replaces the division by a Python number by a multiplication with its reciprocal, whose
    rounding could place a pixel in another simplex.
    """
    return torch.div(values, values.new_tensor(deviation), out=out)


@lru_cache(maxsize=8)
def _cached_lattice(
    height: int, width: int, images: int, sxy: float, dtype: torch.dtype, device: torch.device
) -> Lattice:
    if images > 1:
        return join([_cached_lattice(height, width, 1, sxy, dtype, device)] * images)
    return build_lattice(_positions(height, width, sxy, dtype, device)[None])


def forget_position_lattices() -> None:
    """Empty the cache of position-only lattices, to free memory or to time their construction."""
    _cached_lattice.cache_clear()


def position_lattice(height: int, width: int, images: int, sxy: float, like: Tensor) -> Lattice:
    """The lattice of a position-only term for `images` images; cached if it is small."""
    small = height * width * images <= _CACHED_PIXELS
    build = _cached_lattice if small else _cached_lattice.__wrapped__
    return build(height, width, images, sxy, like.dtype, like.device)


def build_lattices(
    images: Tensor, config: CRFConfig, *, dtype: torch.dtype = torch.float32
) -> Lattices:
    """The part of the CRF that does not depend on the probabilities, for images of one size.

    Args:
        images: (B, 3, H, W), uint8; any channel order.
        config: Terms; weights and iterations are ignored.
        dtype: float32 reproduces the reference; float64 is for tests.

    Returns:
        Lattices of the B images, on the device of `images`; index them to get those of one image.

    Raises:
        TypeError: If the images are not uint8.
        ValueError: If the shape is not (B, 3, H, W) or a standard deviation is too small.

    Example:
        >>> from weakclip.crf.terms import WEAKCLIP_VOC
        >>> images = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
        >>> len(build_lattices(images, WEAKCLIP_VOC)[0])
        1
    """
    count, height, width = check_images(images)
    if count == 0:
        raise ValueError("images: expected one image or more, got an empty batch")
    like = torch.empty(0, dtype=dtype, device=images.device)
    terms = []
    for term in config.terms:
        if isinstance(term, Gaussian):
            terms.append(position_lattice(height, width, 1, term.sxy, like))
        else:
            terms.append(build_lattice(_features(images, term, dtype)))
    return Lattices(
        height=height,
        width=width,
        terms=tuple(terms),
        kinds=tuple(kind_of(term) for term in config.terms),
        images=count,
    )


def check_images(images: Tensor) -> tuple[int, int, int]:
    """Number, height and width of images (B, 3, H, W), uint8, after checks."""
    count, channels, height, width = dims(images, "B C H W", name="images")
    if images.dtype != torch.uint8:
        raise TypeError(
            f"images: expected uint8 values in [0, 255], got {images.dtype}; "
            "undo the normalisation and convert with .to(torch.uint8)"
        )
    if channels != 3 or height == 0 or width == 0:
        raise ValueError(f"images: expected shape (B, 3, H, W), got {tuple(images.shape)}")
    return count, height, width

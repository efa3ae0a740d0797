"""No step of seeds and affinities holds more attention than one mean matrix an image and its copy.

The bounds are checked on the tensors that operators make, on a grid where an attention matrix is
the largest of them by far.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from weakclip.clip.load import load_clip
from weakclip.stages.seeds import (
    Affinity,
    CAMSource,
    SoftmaxGradCAM,
    class_activation_maps,
    encode_texts,
)

if TYPE_CHECKING:
    from torch import Tensor

torch.set_num_threads(1)
CLIP = load_clip("random-micro")
TEXTS = encode_texts(CLIP, ("dog", "cat", "sofa"), ("grass", "sky"))
IMAGE = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([[True, True, True]])
ONE_TAG = torch.tensor([[True, False, False]])
PATCHES = 32 * 32
MATRIX = 4 * (1 + PATCHES) ** 2
"""Bytes of an attention matrix of the image."""
SOURCES: tuple[CAMSource, ...] = (
    SoftmaxGradCAM(layer="ln_1", affinity=Affinity()),
    SoftmaxGradCAM(layer="block-input", affinity=Affinity(blocks=1.0)),
)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The largest tensor that was made, and how many attention matrices there were at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.matrices = 0
        self._alive: list[weakref.ref[Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        outputs = func(*args, **(kwargs or {}))
        for made in tree_leaves(outputs):
            if isinstance(made, torch.Tensor) and not func.is_view:
                self.bytes = max(self.bytes, made.nbytes)
                if made.ndim > 1 and min(made.shape[-2:]) >= PATCHES:
                    self._alive.append(weakref.ref(made))
        alive = [each for ref in self._alive if (each := ref()) is not None]
        held = {each.untyped_storage().data_ptr() for each in alive}
        self.matrices = max(self.matrices, len(held))
        return outputs


@pytest.fixture(autouse=True)
def little_work_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weakclip.clip.attention.WORKING_BYTES", MATRIX // 8)


@pytest.mark.parametrize("source", SOURCES, ids=repr)
def test_an_image_holds_its_mean_attention_and_its_affinity(source: CAMSource) -> None:
    with Largest() as seen:
        class_activation_maps(CLIP, IMAGE, ONE_TAG, TEXTS, source)
    assert seen.bytes == MATRIX
    assert seen.matrices == 2


def test_without_an_affinity_there_is_no_matrix_at_all() -> None:
    with Largest() as seen:
        class_activation_maps(CLIP, IMAGE, LABELS, TEXTS, SoftmaxGradCAM())
    assert seen.matrices == 0


def test_gradients_of_many_classes_are_taken_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = class_activation_maps(CLIP, IMAGE, LABELS, TEXTS, SoftmaxGradCAM())
    tokens = CLIP.image.forward_tokens(IMAGE).tokens[-2]
    monkeypatch.setattr("weakclip.ops.cam._WORKING_BYTES", tokens.nbytes)
    with Largest() as seen:
        one_by_one = class_activation_maps(CLIP, IMAGE, LABELS, TEXTS, SoftmaxGradCAM())
    assert seen.bytes <= 4 * tokens.nbytes  # the MLP's hidden layer
    torch.testing.assert_close(one_by_one, together, atol=1e-4, rtol=0)

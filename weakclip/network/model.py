"""The network: frozen towers, applied once per image, and the components trained at each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.network.matching import text_to_pixel_scores
from weakclip.ops.precision import at_least_single

if TYPE_CHECKING:
    from torch import Tensor

    from weakclip.clip.text import TextTower
    from weakclip.clip.tower import Features, ImageTower
    from weakclip.config import LearningRates
    from weakclip.network.matching import Matched


@dataclass(frozen=True, slots=True)
class Output:
    """Output of the network for a batch."""

    score_map: Tensor
    """Text-to-pixel cosine, (B, K, h, w), in [-1, 1]."""
    logits: Tensor
    """Class logits at the size of pyramid level 0 (stride 4), (B, K, 4h, 4w)."""
    text_embeddings: Tensor
    """Text embeddings before matching, (K, E)."""
    matched: Matched
    """Text and visual embeddings after matching."""


class WeakCLIP(nn.Module):
    """Frozen towers and four components: prompt, adapter, matching, decoder.

    `weakclip/network/build.py` has chosen the components. `encode` carries no gradients, so
    training caches its result and calls only `forward`.

    References:
        Zhu et al., "WeakCLIP", IJCV 2025.
    """

    def __init__(
        self,
        towers: tuple[ImageTower, TextTower],
        *,
        prompt: nn.Module,
        adapter: nn.Module,
        matching: nn.Module,
        decoder: nn.Module,
        rates: LearningRates,
    ) -> None:
        """Store the towers and the components; see the modules of the same names."""
        super().__init__()
        self.rates = rates
        self.image_tower, self.text_tower = towers
        self.prompt = prompt
        self.adapter = adapter
        self.matching = matching
        self.decoder = decoder

    @property
    def components(self) -> dict[str, nn.Module]:
        """The four slots by name; they contain no part of the frozen CLIP."""
        return {
            "prompt": self.prompt,
            "adapter": self.adapter,
            "matching": self.matching,
            "decoder": self.decoder,
        }

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Parameters for the optimiser, without the towers and a frozen adapter."""
        return [each for group in self.rate_groups().values() for each in group]

    def rate_groups(self) -> dict[float, list[nn.Parameter]]:
        """Trainable parameters by their learning-rate factor, in the order of the components."""
        groups: dict[float, list[nn.Parameter]] = {}
        for name, component in self.components.items():
            trained = [each for each in component.parameters() if each.requires_grad]
            if trained:
                groups.setdefault(getattr(self.rates, name), []).extend(trained)
        return groups

    def encode(self, images: Tensor) -> Features:
        """Frozen features of normalised images (B, 3, H, W); no gradients."""
        features: Features = self.image_tower(images)
        return features

    def text(self) -> Tensor:
        """Text embeddings of all classes before matching, (K, E).

        For evaluation, compute them once and pass them to `forward` for every image.
        """
        embeddings: Tensor = self.prompt(self.text_tower)
        return embeddings

    def match(self, features: Features, text: Tensor) -> tuple[Matched, Tensor]:
        """Embeddings after matching, and their score map (B, K, h, w), without decoding."""
        matched = self.matching(text, features.global_embedding, features.dense_embedding)
        return matched, text_to_pixel_scores(matched.dense, matched.text)

    def forward(self, features: Features, *, text: Tensor | None = None) -> Output:
        """Score map and logits of a batch of features.

        Args:
            features: Result of `encode`.
            text: Result of `text()`; computed here if None.

        Returns:
            The output; gradients flow to the components' parameters. Score map and logits are
            in float32 (or more) even under autocast.
        """
        text = self.text() if text is None else text
        pyramid = self.adapter(features.taps)
        matched, score_map = self.match(features, text)
        return Output(
            score_map=at_least_single(score_map),
            logits=at_least_single(self.decoder(pyramid, score_map)),
            text_embeddings=text,
            matched=matched,
        )

    def segment(self, images: Tensor, *, text: Tensor | None = None) -> Tensor:
        """Class logits at the size of the images.

        Args:
            images: Normalised images, (B, 3, H, W).
            text: Result of `text()`; computed here if None.

        Returns:
            Logits, (B, K, H, W), bilinear from the decoder's grid (align_corners false).
        """
        logits = self(self.encode(images), text=text).logits
        size = (images.shape[2], images.shape[3])
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)

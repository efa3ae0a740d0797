"""The network: a frozen part that runs once per image, and a trained part that runs every step."""

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
    """What the network says about a batch."""

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

    The kinds in the slots were chosen in `weakclip/network/build.py`; here they only meet. Training
    caches `encode`, which carries no gradients, and calls `forward` alone.

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
        """Hold the towers and the components; see the modules of the same names."""
        super().__init__()
        self.rates = rates
        self.image_tower, self.text_tower = towers
        self.prompt = prompt
        self.adapter = adapter
        self.matching = matching
        self.decoder = decoder

    @property
    def components(self) -> dict[str, nn.Module]:
        """The four slots by name: everything that is learned, nothing that is frozen CLIP."""
        return {
            "prompt": self.prompt,
            "adapter": self.adapter,
            "matching": self.matching,
            "decoder": self.decoder,
        }

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Parameters for the optimiser: neither the towers' nor a frozen adapter's."""
        return [each for group in self.rate_groups().values() for each in group]

    def rate_groups(self) -> dict[float, list[nn.Parameter]]:
        """Trainable parameters by the factor on their learning rate, in the order of components."""
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

        Compute them once for many images in evaluation and hand them to `forward`.
        """
        embeddings: Tensor = self.prompt(self.text_tower)
        return embeddings

    def match(self, features: Features, text: Tensor) -> tuple[Matched, Tensor]:
        """Embeddings after matching and their score map, (B, K, h, w); nothing is decoded."""
        matched = self.matching(text, features.global_embedding, features.dense_embedding)
        return matched, text_to_pixel_scores(matched.dense, matched.text)

    def forward(self, features: Features, *, text: Tensor | None = None) -> Output:
        """Score map and logits of a batch of features.

        Args:
            features: What `encode` returned.
            text: What `text()` returned; computed if absent.

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
            text: What `text()` returned; computed if absent.

        Returns:
            Logits, (B, K, H, W), bilinear from the decoder's grid (align_corners false).
        """
        logits = self(self.encode(images), text=text).logits
        size = (images.shape[2], images.shape[3])
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)

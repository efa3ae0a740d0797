"""Networks that `bench/speed/cam.py` explains: two CLIPs and a classifier, cut for every way."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import timm
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from bench.speed.cam_ways import Split, Way, all_ways
from weakclip.clip.bundle import CLIPBundle
from weakclip.clip.load import load_clip
from weakclip.clip.micro import MEAN, STD, MicroConfig, build_micro
from weakclip.ops.cam import grad_cam, present_softmax
from weakclip.stages.seeds import SoftmaxGradCAM, TextBank, class_activation_maps

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

CLASSES, BACKGROUND_TEXTS = 20, 25


@dataclass(frozen=True, slots=True)
class Subject:
    """What is explained, and every way to do it."""

    size: int
    ways: dict[str, Way]


class CLIPScores(nn.Module):
    """Softmax probabilities of the present classes, by open_clip's own forward pass."""

    def __init__(self, vision: nn.Module, texts: TextBank, logit_scale: float) -> None:
        """Hold a tower whose weights are as loaded: they get gradients."""
        super().__init__()
        self.vision = vision
        self.everything = torch.cat([texts.foreground, texts.background])
        self.logit_scale = logit_scale
        self.tags = torch.ones(1, CLASSES, dtype=torch.bool)

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, (B, F)."""
        return self.scores(self.vision(images), self.tags)

    def scores(self, embedding: Tensor, tags: Tensor) -> Tensor:
        """Probabilities, (B, F), of image embeddings (B, E)."""
        logits = self.logit_scale * F.normalize(embedding, dim=-1) @ self.everything.T
        return present_softmax(logits, tags)


def clip_subject(clip: CLIPBundle) -> Subject:
    """Softmax Grad-CAM at the output of the last block's first normalisation (CLIP-ES)."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(CLASSES + BACKGROUND_TEXTS, clip.image.embed_dim, generator=generator)
    foreground, background = torch.split(F.normalize(vectors, dim=1), [CLASSES, BACKGROUND_TEXTS])
    texts = TextBank(foreground, background)
    vision = copy.deepcopy(clip.image.vision).requires_grad_(requires_grad=True)
    network = CLIPScores(vision, texts, clip.logit_scale).eval()
    side = clip.image_size // clip.patch_size

    def rest(tokens: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
        normed = clip.image.last_norm(tokens).detach().requires_grad_()
        output = clip.image.last_block(tokens, normed)
        embedding, _ = clip.image.read_out(output, (side, side))
        return normed, network.scores(embedding, tags)

    def to_map(tokens: Tensor) -> Tensor:
        return torch.unflatten(tokens[:, 1:].transpose(1, 2), -1, (side, side))

    split = Split(
        network=network,
        layer=cast("nn.Module", vision.transformer.resblocks[-1].ln_1),
        prefix=lambda images: clip.image.forward_tokens(images).tokens[-2],
        rest=rest,
        to_map=to_map,
    )
    source = SoftmaxGradCAM(layer="ln_1")

    def ours(images: Tensor, image_labels: Tensor) -> Tensor:
        return class_activation_maps(clip, images, image_labels, texts, source)

    return Subject(clip.image_size, all_ways(ours, split))


def random_vit() -> CLIPBundle:
    """ViT-B/16 at 224 pixels with random weights: what it says is noise, what it costs is not."""
    config = MicroConfig(
        embed_dim=512,
        width=768,
        layers=12,
        head_width=64,
        patch_size=16,
        image_size=224,
        pool="tok",
    )
    torch.manual_seed(0)
    model = build_micro(config, vocabulary_size=100).eval()
    return CLIPBundle.from_open_clip(
        model, lambda _: torch.zeros(0, 1), mean=MEAN, std=STD, name="random", sha256=""
    )


class Tagger(nn.Module):
    """ResNet-50 at stride 16 with a linear head per class, random weights."""

    def __init__(self) -> None:
        """Initialise."""
        super().__init__()
        torch.manual_seed(0)
        self.body = timm.create_model("resnet50", output_stride=16, num_classes=0, global_pool="")
        self.head = nn.Conv2d(2048, CLASSES, 1, bias=False)
        self.tags = torch.ones(1, CLASSES, dtype=torch.bool)  # a logit does not depend on them

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, F)."""
        return self.logits(self.body(images))

    def logits(self, features: Tensor) -> Tensor:
        """Logits, (B, F), of the last stage's output (B, 2048, h, w)."""
        logits: Tensor = self.head(features).mean(dim=(2, 3))
        return logits


def classifier_subject(stage: str) -> Subject:
    """Grad-CAM of a classifier's logits at the output of `layer3` or `layer4`."""
    network = Tagger().eval()
    frozen = copy.deepcopy(network).requires_grad_(requires_grad=False)
    names = [name for name, _ in network.body.named_children()]
    last = names.index(stage) + 1

    def prefix(images: Tensor) -> Tensor:
        for name in names[:last]:
            images = frozen.body.get_submodule(name)(images)
        return images

    def logits(features: Tensor) -> Tensor:
        for name in names[last:]:
            features = frozen.body.get_submodule(name)(features)
        return frozen.logits(features)

    def rest(features: Tensor, _tags: Tensor) -> tuple[Tensor, Tensor]:
        looked_at = features.detach().requires_grad_()
        return looked_at, logits(looked_at)

    def ours(images: Tensor, image_labels: Tensor) -> Tensor:
        with torch.no_grad():
            features = prefix(images)
        pairs, grid = image_labels.nonzero(), features.shape[2:]

        def score(cells: Tensor, pairs: Tensor) -> Tensor:
            maps = torch.unflatten(cells.transpose(1, 2), -1, grid).contiguous()
            return logits(maps).gather(1, pairs[:, 1:]).squeeze(1)

        maps = grad_cam(score, features.flatten(2).transpose(1, 2), pairs, prefix_tokens=0)
        result = features.new_zeros(*image_labels.shape, *grid)
        result[pairs[:, 0], pairs[:, 1]] = maps.view(-1, *grid)
        return result

    split = Split(network, network.body.get_submodule(stage), prefix, rest, lambda maps: maps)
    return Subject(224, all_ways(ours, split))


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "micro-clip": lambda: clip_subject(load_clip("micro")),
    "vit-b-16": lambda: clip_subject(random_vit()),
    "resnet50-layer4": lambda: classifier_subject("layer4"),
    "resnet50-layer3": lambda: classifier_subject("layer3"),
}

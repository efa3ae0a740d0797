"""The first stage: class activation maps of a split, one file per image.

A source of maps is fitted on images and tags (unless it has nothing to learn) and applied image by
image. The maps are kept in the setting's folder: an interrupted run resumes there, and all rows of
a study that start from the same maps share them. Only the maps of tagged classes are written; all
others are zero by definition.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable
from zipfile import BadZipFile

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 (the name everyone uses)

from weakclip.data.artifacts import code_id, content_key, file_key
from weakclip.data.atomic import replacing, write_text
from weakclip.data.formats.from_files import FromFiles
from weakclip.data.read.tagged import BadImage
from weakclip.description import describe
from weakclip.ops.parameters import count_parameters
from weakclip.stages.images import Memory, PerImage
from weakclip.stages.seeds import (
    CAMSource,
    PatchSoftmax,
    TextBank,
    class_activation_maps,
    encode_texts,
)
from weakclip.stages.size import scores_at
from weakclip.training.memory import BatchSize
from weakclip.training.parallel import together
from weakclip.training.views import normalise_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from weakclip.progress import Report
    from weakclip.stages.images import WorkingImages
    from weakclip.stages.protocols import MaskerSpec, PseudoMasker, Setting, TaggedImages

BATCH = 50
"""Images processed together; fewer if memory runs out."""
Sizes = dict[str, dict[str, int]]
"""{component: {"total": n, "trainable": n}}, numbers of parameters."""
NOTES = "maps.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CLIPMaps:
    """Maps of the frozen CLIP; a `weakclip.stages.protocols.MaskerSpec`."""

    source: CAMSource = PatchSoftmax()

    def build(self, setting: Setting) -> FrozenCLIPMasker:
        """The masker; it needs no fitting.

        Raises:
            ValueError: If a word is not in the vocabulary of CLIP's tokeniser.
        """
        return FrozenCLIPMasker(self, setting)


@runtime_checkable
class WrittenMaps(Protocol):
    """A source that writes the map files of the whole split before they are read."""

    def written(self, setting: Setting, data: WorkingImages) -> FromFiles:
        """Write the missing files; where all files are."""


@runtime_checkable
class Resumable(Protocol):
    """A `PseudoMasker` whose training can be resumed."""

    states: Path | None
    """Folder for the training states, named by a hash of what the training depends on; the caller
    removes it."""


MapSource: TypeAlias = "MaskerSpec | FromFiles | WrittenMaps"
"""What makes maps, or where existing ones are read from."""


class FrozenCLIPMasker:
    """The `PseudoMasker` of `CLIPMaps`; nothing is trained."""

    def __init__(self, spec: CLIPMaps, setting: Setting) -> None:
        """Encode the texts once; several phrases of a class are averaged."""
        self._source, self._clip, self._device = spec.source, setting.clip, setting.device
        self._texts = texts_of(setting)

    def fit(self, data: TaggedImages, *, seed: int, report: Report) -> None:
        """Learn nothing."""

    def cams(self, images: Tensor, image_labels: Tensor) -> Tensor:
        """See `weakclip.stages.protocols.PseudoMasker`."""
        normal = normalise_images(images.to(self._device), self._clip.mean, self._clip.std)
        return class_activation_maps(
            self._clip, normal, image_labels.to(self._device), self._texts, self._source
        )

    def parameter_counts(self) -> Sizes:
        """Parameters of the two frozen towers."""
        return count_parameters({"image tower": self._clip.image, "text tower": self._clip.text})


def texts_of(setting: Setting) -> TextBank:
    """Text embeddings of a setting's classes and background words."""
    template = setting.template
    names, phrases = setting.class_names, setting.phrases
    if all(len(each) == 1 for each in phrases):
        names = tuple(each[0] for each in phrases) if phrases else names
        return encode_texts(setting.clip, names, setting.background_words, template)
    foreground = [
        F.normalize(encode_texts(setting.clip, each, (), template).foreground.mean(0), dim=0)
        for each in phrases
    ]
    background = encode_texts(setting.clip, setting.background_words, (), template).foreground
    return TextBank(torch.stack(foreground), background)


class FileMaps(PerImage):
    """Maps made by another program, resized to the working size of their images."""

    def __init__(self, source: FromFiles, data: WorkingImages) -> None:
        """Check every file once.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If maps are missing or invalid; the message lists the problems.
        """
        self._source, self._data = source, data
        self.seconds, self.parameters = 0.0, Sizes()  # unknown: the maps were made elsewhere
        names = data.files.names
        readable = [index for index in range(len(data)) if data.file_size(index) is not None]
        sizes = [size for index in readable if (size := data.file_size(index)) is not None]
        found = source.check(
            [names[index] for index in readable], data.image_labels[readable], sizes
        )
        broken = [finding for finding in found if finding.kind.severity == "breaks"]
        if broken:
            lines = [
                f"{finding.kind.what}: {len(finding.affected)}, first {finding.affected[0]}; "
                f"{finding.kind.fix}"
                for finding in broken
            ]
            raise ValueError(f"maps {source.folder}: " + "\n".join(lines))
        for finding in found:
            logger.warning("maps: %s: %d", finding.kind.what, len(finding.affected))

    @property
    def origin(self) -> str:
        """Hash of how the files are read."""
        return content_key(describe(self._source), code_id(type(self._source).__module__))

    def item_key(self, index: int) -> str:
        """Key of an image and of its map file."""
        path = self._source.files().find(self._data.files.names[index])
        stat = None if path is None else path.stat()
        file = None if stat is None else [stat.st_size, stat.st_mtime_ns]
        return f"{self._data.keys[index]}-{content_key(file)}"

    def lacks(self, index: int) -> bool:
        """Whether a tagged image has no file, or the image cannot be read."""
        name = self._data.files.names[index]
        if self._data.image_labels[index].any() and self._source.files().find(name) is None:
            return True
        return not any(True for _ in self._data.usable((index,)))

    def __len__(self) -> int:
        return len(self._data)

    def at(self, position: int) -> Tensor:
        """Maps of an image, (F, h, w), at its working size."""
        name, size = self._data.files.names[position], self._data.file_size(position)
        if size is None:
            raise ValueError(f"{name}: cannot be read")
        labels = self._data.image_labels[position]
        _, height, width = self._data.image(position).shape
        return scores_at(self._source.read(name, labels, size), (height, width))


class KeptMaps(PerImage):
    """The maps of the images of a split, read from disk on access."""

    def __init__(self, folder: Path, data: WorkingImages, memory: Memory | None = None) -> None:
        """Refer to a folder; the maps of some images may still be missing.

        By default the maps that are read are cached in one gibibyte of their own.
        """
        self.folder, self._keys = folder, data.keys
        self._classes = data.image_labels.shape[1]
        self._memory = memory or Memory()

    @property
    def origin(self) -> str:
        """Hash of everything that the maps of all images depend on."""
        return self.folder.name

    def item_key(self, index: int) -> str:
        """Key of an image."""
        return self._keys[index]

    @property
    def seconds(self) -> float:
        """Time spent on making the maps."""
        return float(str(self._notes.get("seconds", 0.0)))

    @property
    def parameters(self) -> Sizes:
        """Parameters of the source of the maps."""
        found: Sizes = self._notes.get("parameters", {})
        return found

    def __len__(self) -> int:
        return len(self._keys)

    def at(self, position: int) -> Tensor:
        """Maps of an image, (F, h, w), float32, on the CPU."""
        key = file_key(self.path(position))
        return self._memory.get(key, lambda: self._read(position), lambda maps: maps.nbytes)

    def path(self, index: int) -> Path:
        """The map file of an image."""
        return self.folder / f"{self._keys[index]}.npz"

    def write(self, index: int, maps: Tensor, image_labels: Tensor) -> None:
        """Write an image's maps (F, h, w) of its tagged classes (F,)."""
        classes = image_labels.nonzero()[:, 0]
        with replacing(self.path(index), durable=False) as temporary, temporary.open("wb") as file:
            shape = np.array(maps.shape[1:], dtype=np.int32)
            np.savez(file, classes=classes.numpy(), maps=maps[classes].float().numpy(), size=shape)

    def _read(self, index: int) -> Tensor:
        with self.path(index).open("rb") as file, np.load(file, allow_pickle=False) as kept:
            height, width = kept["size"].tolist()
            maps = torch.zeros(self._classes, height, width)
            maps[torch.from_numpy(kept["classes"])] = torch.from_numpy(kept["maps"])
        return maps

    def lacks(self, index: int) -> bool:
        """Whether an image has no map file."""
        return not self.path(index).is_file()

    def is_damaged(self, index: int) -> bool:
        """Whether an image has no readable maps: its file is missing or damaged."""
        try:
            self[index]
        except FileNotFoundError:
            return True
        except (ValueError, OSError, KeyError, EOFError, BadZipFile):
            logger.warning("%s: cannot be read and is made again", self.path(index).name)
            return True
        return False

    @property
    def _notes(self) -> dict[str, Any]:
        path = self.folder / NOTES
        found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return found

    def note(self, seconds: float, parameters: Sizes) -> None:
        """Add the time that further maps took, and record the parameters of their source."""
        content = {"seconds": round(self.seconds + seconds, 3), "parameters": parameters}
        write_text(self.folder / NOTES, json.dumps(content) + "\n")


SplitMaps: TypeAlias = KeptMaps | FileMaps
"""The maps of the images of a split: made by this package, or by another program."""


def ensure_maps(
    spec: MapSource,
    setting: Setting,
    data: WorkingImages,
    *,
    seed: int,
    report: Report,
    indices: Sequence[int] | None = None,
) -> SplitMaps:
    """Fit a source of maps on a split and make the missing maps of `indices`, or of all images.

    A source that learns nothing makes the same maps for all seeds, and an image's maps do not
    depend on the other images. Unreadable images are added to the `bad` of `data`.
    """
    if isinstance(spec, WrittenMaps):
        spec = spec.written(setting, data)
    if isinstance(spec, FromFiles):
        return FileMaps(spec, data)
    masker = spec.build(setting)
    learns = any(size["trainable"] for size in masker.parameter_counts().values())
    key = content_key(
        describe(spec), [seed, data.key] if learns else None, setting.key,
        code_id(type(spec).__module__, __name__),
    )  # fmt: skip
    kept = KeptMaps(setting.place(f"maps-{key}"), data, setting.memory)
    wanted = range(len(data)) if indices is None else indices
    if any(setting.processes.gather(any(kept.is_damaged(index) for index in wanted))):
        with together(kept.folder, setting.processes):
            _make(kept, masker, setting, data, seed, wanted, report)
    return kept


def made_maps(
    masker: PseudoMasker,
    data: WorkingImages,
    indices: Sequence[int],
    device: torch.device,
    batch: BatchSize,
) -> Iterator[tuple[int, Tensor]]:
    """Maps of images; images of one size are processed together, fewer when memory runs out.

    Images that are unreadable or too large for the memory are added to the `bad` of `data`.

    Yields:
        Image index and its maps, (F, h, w), on the CPU. The order may change.
    """

    def ask(group: Sequence[int]) -> Sequence[Tensor]:
        return masker.cams(*data.stack(group, device)).cpu().unbind()

    for group in data.groups(indices, batch.size):
        for index, maps in batch.run(ask, group):
            if maps is None:
                name = data.files.names[index]
                data.bad[index] = BadImage(name, "not enough memory; choose a smaller max_side")
            else:
                yield index, maps


def _make(
    kept: KeptMaps,
    masker: PseudoMasker,
    setting: Setting,
    data: WorkingImages,
    seed: int,
    wanted: Sequence[int],
    report: Report,
) -> None:
    start = time.perf_counter()
    kept.folder.mkdir(parents=True, exist_ok=True)
    mine = setting.processes.share(wanted)
    missing = [index for index in mine if kept.is_damaged(index)]
    if not any(setting.processes.gather(bool(missing))):
        return  # another process has made them in the meantime
    states = setting.place("training") / kept.folder.name
    if isinstance(masker, Resumable) and setting.processes.first:
        masker.states = states
    masker.fit(data, seed=seed, report=report)
    done = len(mine) - len(missing)
    report(done, len(mine))
    for index, maps in made_maps(masker, data, missing, setting.device, BatchSize(BATCH)):
        kept.write(index, maps, data.image_labels[index])
        done += 1
        report(done, len(mine))
    setting.processes.wait()
    if setting.processes.first:
        kept.note(time.perf_counter() - start, masker.parameter_counts())
        shutil.rmtree(states, ignore_errors=True)

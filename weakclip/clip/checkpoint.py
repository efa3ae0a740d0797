"""Finds the weights of a CLIP on this machine.

Nothing is downloaded. A tag such as `ViT-B-16/openai` is looked up in the caches of open_clip and
of the Hugging Face hub. If it is not there, the error names the file, its publisher and the places
where it would be found.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import constants, try_to_load_from_cache
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

from weakclip.clip.architecture import (
    Architecture,
    channels,
    check_supported,
    from_open_clip,
    registered,
)
from weakclip.clip.hugging_face import from_hugging_face

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CONFIGS: dict[str, Callable[[Path], Architecture]] = {
    "open_clip_config.json": from_open_clip,
    "config.json": from_hugging_face,
}
_WEIGHTS = (
    HF_SAFE_WEIGHTS_NAME, "open_clip_pytorch_model.safetensors", HF_WEIGHTS_NAME,
    "model.safetensors", "pytorch_model.bin",
)  # fmt: skip
"""Names of the weight file in a folder, in order of preference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A CLIP on disk."""

    name: str
    """Name for users, e.g. `ViT-B-16/openai`."""
    architecture: Architecture
    weights: Path
    tag: str | None = None
    """The requested tag, which determines the activation."""


def find_checkpoint(name: str, weights: Path | None = None) -> Checkpoint:
    """The checkpoint for a name and, optionally, a path.

    Args:
        name: An open_clip model (`ViT-B-16`), one with a tag (`ViT-B-16/openai`), or a folder with
            `open_clip_config.json` or transformers' `config.json`.
        weights: A weight file, or such a folder, whose description then replaces that of `name`;
            if None, the caches are searched.

    Raises:
        FileNotFoundError: If the weights are not on this machine; the message says what to fetch.
        ValueError: If the name or the tag is unknown, or the model is not a plain ViT.
    """
    for place in (weights, Path(name)):
        if place is not None and place.is_dir():
            return _in_folder(place, name)
    model, _, tag = name.partition("/")
    if Path(name).is_absolute() or name.startswith("."):
        raise FileNotFoundError(f"CLIP {name}: no such folder")
    architecture = registered(model)
    check_supported(architecture, f"CLIP {name}")  # before the user fetches its weights
    if not tag:
        if weights is None:
            raise FileNotFoundError(_which_weights(model))
        return Checkpoint(name=model, architecture=architecture, weights=_file(weights))
    config = get_pretrained_cfg(model, tag)
    if not config:
        tags = ", ".join(list_pretrained_tags_by_model(model)) or "none"
        raise ValueError(f"unknown tag {tag!r} of {model}; known: {tags}")
    return Checkpoint(
        name=f"{model}/{tag}",
        architecture=Architecture(
            model={**architecture.model, "quick_gelu": config.get("quick_gelu", False)},
            mean=channels(config["mean"], f"{name}: mean"),
            std=channels(config["std"], f"{name}: std", zero=False),
        ),
        weights=_cached(name, config) if weights is None else _file(weights),
        tag=tag,
    )


def _in_folder(folder: Path, name: str) -> Checkpoint:
    """The checkpoint in a folder with a description file."""
    config = next((each for each in _CONFIGS if (folder / each).is_file()), None)
    if config is None:
        raise FileNotFoundError(
            f"CLIP {folder}: expected {' or '.join(_CONFIGS)} in the folder, found "
            f"{', '.join(sorted(path.name for path in folder.iterdir())[:6]) or 'nothing'}"
        )
    weights = next((folder / each for each in _WEIGHTS if (folder / each).is_file()), None)
    if weights is None:
        raise FileNotFoundError(
            f"CLIP {folder}: {config} is there but no weights; put {' or '.join(_WEIGHTS)} next to "
            "it (one file; a checkpoint in several parts has to be joined first)"
        )
    label = folder.resolve().name if Path(name).is_dir() else name
    return Checkpoint(name=label, architecture=_CONFIGS[config](folder / config), weights=weights)


def _file(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"CLIP weights: no file {path}")
    return path


def _cached(name: str, config: Mapping[str, Any]) -> Path:
    """The file of a tag in the local caches.

    Raises:
        FileNotFoundError: If none contains it; says what to fetch and where to put it.
    """
    repository, files = _on_hub(config)
    for file in files:
        found = try_to_load_from_cache(repository, file)
        if isinstance(found, str):
            return Path(found)
    published = _published_file(config)
    cache = Path.home() / ".cache" / "clip"
    if published and (cache / published).is_file():
        return cache / published
    offers = [
        *(f"{file} of the Hugging Face repository {repository}" for file in files[:1]),
        *([f"{published} of the model's publisher (kept in {cache})"] if published else []),
    ]
    raise FileNotFoundError(
        f"CLIP {name}: the weights are not on this machine, and nothing is downloaded. Fetch "
        f"{', or '.join(offers)}, and give its path as `weights` (--weights FILE), or have "
        f"it in the cache {constants.HF_HUB_CACHE}. `micro` needs no file"
    )


def _on_hub(config: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Hub repository of a tag and the possible names of its weight file, safetensors first."""
    repository, _, file = str(config.get("hf_hub", "")).rpartition("/")
    if not repository:
        return "", ()
    if not file:
        return repository, (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
    return repository, (str(Path(file).with_suffix(".safetensors")), file)


def _published_file(config: Mapping[str, Any]) -> str:
    """Name of the file at the publisher's own URL, e.g. `ViT-B-16.pt`; empty if there is none."""
    return str(config.get("url", "")).rpartition("/")[2]


def _which_weights(model: str) -> str:
    tags = list_pretrained_tags_by_model(model)[:6]
    named = f"name a tag ({', '.join(f'{model}/{tag}' for tag in tags)}) or " if tags else ""
    return (
        f"CLIP {model}: which weights? {named}give the path of a file as `weights` "
        "(--weights FILE); `micro` needs no file"
    )

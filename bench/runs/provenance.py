"""The provenance of a run: commit, versions, device, determinism flags, command.

Records are published, so provenance must not contain paths, host names or user names.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shlex
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.runs.record import Provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("weakclip", "torch", "numpy", "open_clip_torch", "timm", "numba")
_CHECKOUT = Path(__file__).resolve().parents[2]
_QUOTED = re.compile(r"(['\"])(~|[A-Za-z]:)?[/\\][^'\"]*\1")
_ABSOLUTE = re.compile(r"(?<![\w.:/])(~|[A-Za-z]:)?[/\\][^\s'\":,;()\[\]]*")


def collect(
    *, device: str, command: str, data: dict[str, object], weights: dict[str, object]
) -> Provenance:
    """Return the provenance of a session; `started_utc` and the flags are set again per run."""
    commit, dirty = checkout_state()
    return Provenance(
        commit=commit,
        dirty=dirty,
        versions=versions(),
        device=device_name(device),
        determinism=determinism_flags(),
        weights=weights,
        data=data,
        started_utc=utc_now(),
        command=command,
    )


def checkout_state() -> tuple[str | None, bool | None]:
    """Return the commit, and whether files outside `results/` differ from it.

    Both are None outside a git checkout.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None, None
    changed = _git("status", "--porcelain", "--", ".", ":(exclude)results")
    return commit.strip(), None if changed is None else bool(changed.strip())


def commit() -> str | None:
    """Return the commit of the checkout; None outside a git checkout."""
    return checkout_state()[0]


def unchanged_files(folder: Path) -> frozenset[Path]:
    """Return the files of a folder that equal their committed version, as resolved paths.

    Empty outside a git checkout.
    """
    if not folder.is_dir():
        return frozenset()
    listed, changed = (
        _git(*words, "-z", "--", ".", folder=folder)
        for words in (("ls-files",), ("diff", "--name-only", "--relative", "HEAD"))
    )
    if listed is None or changed is None:
        return frozenset()
    names = set(listed.split("\0")) - set(changed.split("\0"))
    return frozenset((folder / name).resolve() for name in names if name)


def committed_text(path: Path) -> str | None:
    """Return the text of a file in the last commit; None if it is not there or not in git."""
    return _git("show", f"HEAD:./{path.name}", folder=path.parent) if path.exists() else None


@cache
def code_id() -> str:
    """First 12 hex digits of the SHA-256 of the source files on which a run depends.

    Unlike the commit it distinguishes two dirty trees. Studies are not included: a run depends on
    them only through its configuration, which has its own id.
    """
    digest = hashlib.sha256()
    for package in ("baselines", "bench", "weakclip"):
        for path in sorted((_CHECKOUT / package).rglob("*.py")):
            digest.update(path.relative_to(_CHECKOUT).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that affect results."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def device_name(device: str) -> str:
    """Return the model name of the GPU or the processor."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name())
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def determinism_flags() -> dict[str, bool | int | str]:
    """Return the settings of this process on which bitwise reproducibility depends."""
    return {
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": bool(torch.backends.cudnn.deterministic),
        "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        "cudnn_tf32": bool(torch.backends.cudnn.allow_tf32),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cpu_threads": torch.get_num_threads(),
    }


def utc_now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def command_line(arguments: Sequence[str]) -> str:
    """Return the command that repeats a run, with absolute paths replaced.

    Example:
        >>> command_line(["run", "components", "--data-root", "/home/me/VOC2012"])
        'python -m bench run components --data-root PATH'
    """
    return "python -m bench " + shlex.join(without_paths(word) for word in arguments)


def without_paths(text: str) -> str:
    """Replace what looks like an absolute path by `PATH`.

    Example:
        >>> without_paths("FileNotFoundError: '/home/me/VOC2012/train.txt' is not there")
        "FileNotFoundError: 'PATH' is not there"
    """
    return _ABSOLUTE.sub("PATH", _QUOTED.sub(r"\1PATH\1", text))


def _git(*arguments: str, folder: Path | None = None) -> str | None:
    command = ["git", "-C", str(folder or _CHECKOUT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout

"""Products of stages on disk: keyed by what they depend on, made once, shared between processes.

The key of a product is a hash of its inputs and of the code of its stage: the stage's modules and
all modules of this project that they import, without docstrings. So a change in a
table renderer or in a docstring does not invalidate maps, seeds or unfinished trainings.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import importlib.util
import json
import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = {"weakclip", "baselines", "bench"}


def content_key(*parts: object) -> str:
    """First 12 hex digits of the SHA-256 of JSON values.

    Example:
        >>> content_key("maps", {"b": 1, "a": 2}) == content_key("maps", {"a": 2, "b": 1})
        True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def file_key(path: Path) -> tuple[Path, int, int]:
    """A file as it is now: its path, the time of its last change (ns), and its size in bytes.

    Raises:
        FileNotFoundError: If it is not there.
    """
    stat = path.stat()
    return path, stat.st_mtime_ns, stat.st_size


@cache
def code_id(*modules: str) -> str:
    """First 12 hex digits of the SHA-256 of the code of modules, by full name, and their imports.

    Imports for type checking and other packages do not count.
    """
    found: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and (path := _source(name)) is not None:
            found[name], imports = _code(path)
            waiting += imports
    digest = hashlib.sha256()
    for name, code in sorted(found.items()):
        digest.update(name.encode() + b"\0" + code + b"\0")
    return digest.hexdigest()[:12]


@cache
def _code(path: Path) -> tuple[bytes, tuple[str, ...]]:
    """Lines of a module that are not empty and not of a docstring, and the names it imports."""
    source = path.read_bytes()
    lines, imports = source.splitlines(), list[str]()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif _is_docstring(node) and not lines[node.lineno - 1][: node.col_offset].strip():
            for line in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[line] = b""
    return b"\n".join(line for line in lines if line.strip()), tuple(imports)


def _is_docstring(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements inside, but those that only type checkers see."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, name, ()):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.stmt):
                yield child
            yield from _statements(child)


@cache
def _source(module: str) -> Path | None:
    """The file of a module of this project; None if the name is not one."""
    if module.split(".")[0] not in _PACKAGES:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the name of a class or function in a module
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


class FileLock:
    """An exclusive lock on a file; released by `release` or `end`, or when the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self, *, wait: bool) -> bool:
        """Lock the file; whether that succeeded. With `wait`, wait until it does."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Unlock the file without removing it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def end(self) -> None:
        """Remove the file and unlock."""
        self._path.unlink(missing_ok=True)
        self.release()


@contextmanager
def placed(folder: Path | None) -> Iterator[Path]:
    """The folder; a temporary one if it is None."""
    if folder is not None:
        yield folder
        return
    with TemporaryDirectory(prefix="weakclip-") as temporary:
        yield Path(temporary)


@contextmanager
def making(product: Path) -> Iterator[None]:
    """Hold the lock of a product while making it, so that other processes wait for it.

    Check again inside the block whether the product exists. The lock file stays next to it.
    """
    lock = FileLock(product.with_name(f"{product.name}.lock"))
    lock.take(wait=True)
    try:
        yield
    finally:
        lock.release()

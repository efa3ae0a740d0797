"""File names that people or file systems confuse: case, Unicode form, suffix, slashes, folders.

Two names are twins if some file system treats them as equal: Windows and macOS ignore case, and
macOS may store "é" as one or two characters.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PAIRS = 20_000
"""Largest number of name pairs that are compared by similarity; more would take minutes."""


def name_key(name: str) -> str:
    """A key that is equal for twins.

    Example:
        >>> name_key("Cafe\u0301.JPG") == name_key("caf\u00e9.jpg")
        True
    """
    return unicodedata.normalize("NFC", name).casefold()


def without_suffix(name: str) -> str:
    """The path without its suffix.

    Example:
        >>> without_suffix("a.b/x.y.jpg")
        'a.b/x.y'
    """
    return PurePosixPath(name).with_suffix("").as_posix()


def output_stems(names: Sequence[str]) -> tuple[str, ...]:
    """A unique output path, without suffix, for the result of each file.

    It is the path of the file without its suffix; with its suffix if others differ only in that;
    and with a hash of the name if twins would collide on some file systems. It does not depend on
    the order of the names.

    Example:
        >>> output_stems(("a/x.jpg", "b/x.jpg", "b/X.png"))
        ('a/x', 'b/x.jpg', 'b/X.png')
        >>> output_stems(("x.jpg", "X.jpg"))
        ('x.jpg-8f3c0b', 'X.jpg-fb6d96')
    """
    bare = [without_suffix(name) for name in names]
    stems = _apart(bare, names)
    return _apart(stems, [f"{name}-{_digest(name)}" for name in names])


def _digest(name: str) -> str:
    """Six hex digits of a hash of the name, which need not be valid UTF-8."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:6]


def _apart(names: Sequence[str], longer: Sequence[str]) -> tuple[str, ...]:
    """`names`, replaced by the longer ones where several have the same key."""
    count = Counter(map(name_key, names))
    return tuple(
        more if count[name_key(name)] > 1 else name
        for name, more in zip(names, longer, strict=True)
    )


def meant_names(missing: Collection[str], on_disk: Collection[str]) -> dict[str, str]:
    r"""The existing file that each missing name probably means; names without a match are omitted.

    Example:
        >>> found = meant_names(["a", "img\\a.jpg", "B.JPG", "x/b.jpeg"], ["a.jpg", "b.jpg"])
        >>> list(found.values())
        ['a.jpg', 'a.jpg', 'b.jpg', 'b.jpg']
    """
    if not missing or not on_disk:
        return {}
    tables = [_rows(column) for column in zip(*map(_forms, on_disk), strict=True)]
    compare = on_disk if len(missing) * len(on_disk) <= PAIRS else ()
    near: dict[str, str] = {}
    names = list(on_disk)
    for name in missing:
        forms = zip(tables, _forms(name), strict=True)
        rows = [table[form] for table, form in forms if form in table]
        alike = [] if rows else difflib.get_close_matches(name, compare, n=1, cutoff=0.8)
        guesses = [*(names[row] for row in rows if row is not None), *alike]
        if guesses:
            near[name] = guesses[0]
    return near


def did_you_mean(name: str, meant: str) -> str:
    """A question for a missing name; says how the names differ if both look the same.

    Example:
        >>> did_you_mean("A.jpg", "a.jpg"), did_you_mean("e\u0301", "\u00e9")
        ("did you mean 'a.jpg'?", "did you mean '\u00e9', as Unicode form NFC?")
    """
    alike = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", meant)
    form = next((form for form in ("NFC", "NFD") if unicodedata.is_normalized(form, meant)), "")
    return f"did you mean {meant!r}{f', as Unicode form {form}' if alike and form else ''}?"


def _forms(name: str) -> tuple[str, ...]:
    """Increasingly reduced forms of a path: no case, suffix, folders, both, leading zeros."""
    path = name_key(unquote(name).replace("\\", "/").strip(" '\"\t"))
    path = PurePosixPath(path).as_posix()
    bare = re.sub(r"\.[a-z]\w{1,4}$", "", path)
    base, stem = path.rsplit("/", 1)[-1], bare.rsplit("/", 1)[-1]
    return path, bare, base, stem, stem.lstrip("0")


def _rows(forms: Sequence[str]) -> dict[str, int | None]:
    """Row of each form; None if it is not unique."""
    count = Counter(forms)
    return {form: row if count[form] == 1 else None for row, form in enumerate(forms) if form}

"""Configurations as Python source, so that a study can import the result of a search."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WIDTH = 100


def module_source(description: str, values: Mapping[str, object]) -> str:
    """Return a module that defines values (name -> dataclass), in the layout of the formatter.

    Example:
        >>> from weakclip.config import FixedTemplate
        >>> print(module_source("A value.", {"OFF": FixedTemplate()}))
        \"\"\"A value.\"\"\"
        <BLANKLINE>
        from weakclip.config import FixedTemplate
        <BLANKLINE>
        OFF = FixedTemplate(
            template="a photo of a {}.",
        )
        <BLANKLINE>
    """
    names: dict[str, set[str]] = {}
    for value in values.values():
        for kind in _kinds(value):
            names.setdefault(kind.__module__, set()).add(kind.__name__)
    imports = "\n".join(_import(module, sorted(names[module])) for module in sorted(names))
    definitions = "\n\n".join(f"{name} = {_source(value)}" for name, value in values.items())
    return f'"""{description}"""\n\n{imports}\n\n{definitions}\n'


def _kinds(value: object) -> Iterator[type]:
    """All dataclasses in a value."""
    if is_dataclass(value) and not isinstance(value, type):
        yield type(value)
        for field in fields(value):
            yield from _kinds(getattr(value, field.name))
    elif isinstance(value, tuple):
        for part in value:
            yield from _kinds(part)


def _import(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _source(value: object, indent: str = "") -> str:
    """The source of a value, with one field or item per line."""
    deeper = indent + "    "
    if is_dataclass(value) and not isinstance(value, type):
        parts = [f"{f.name}={_source(getattr(value, f.name), deeper)}" for f in fields(value)]
        inside = "".join(f"{deeper}{part},\n" for part in parts)
        name = type(value).__name__
        return f"{name}(\n{inside}{indent})" if parts else f"{name}()"
    if isinstance(value, tuple) and value:
        inside = "".join(f"{deeper}{_source(part, deeper)},\n" for part in value)
        return f"(\n{inside}{indent})"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)

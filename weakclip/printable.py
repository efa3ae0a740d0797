"""Text of unknown origin, made safe for terminals and logs."""

from __future__ import annotations


def one_line(text: str) -> str:
    r"""Text of unknown origin, such as a file name, with control characters escaped.

    Example:
        >>> print(one_line("a\x1b[31m.png: cannot\nbe read"))
        a\x1b[31m.png: cannot\nbe read
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)

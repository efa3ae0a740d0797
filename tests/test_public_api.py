"""The names `weakclip` promises; widening the list is a decision, made here."""

from __future__ import annotations

import weakclip

PUBLIC: tuple[str, ...] = ()


def test_the_package_exports_what_is_promised_and_nothing_else() -> None:
    exported = tuple(getattr(weakclip, "__all__", ()))
    assert exported == PUBLIC
    assert all(hasattr(weakclip, name) for name in exported)

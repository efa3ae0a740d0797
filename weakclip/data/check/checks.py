"""All checks of a data set, and the severities of their findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weakclip.data.check import images as check_images
from weakclip.data.check import mask_files as check_mask_files
from weakclip.data.check import masks as check_masks
from weakclip.data.check import tags as check_tags
from weakclip.data.check import words as check_words
from weakclip.data.check.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from weakclip.data.check.survey import Survey

CHECKS = (
    *check_images.CHECKS,
    *check_tags.CHECKS,
    *check_words.CHECKS,
    *check_mask_files.CHECKS,
    *check_masks.CHECKS,
)
"""Images before tags before masks, so that causes are listed before their effects."""

SEVERITIES = ("breaks", "biases", "note")


OF_PAIRS = (
    *("image-missing", "image-unreadable", "masks-unmatched", "mask-missing", "mask-shared"),
    *("mask-unreadable", "mask-colours", "mask-lossy", "mask-size", "mask-labels", "mask-binary"),
)
"""Kinds that apply to a data set of images and masks without tags."""


def run_checks(survey: Survey, kinds: Collection[str] | None = None) -> tuple[Finding, ...]:
    """The findings by severity, then in the order of `CHECKS`, of the named kinds or of all."""
    chosen = [check for check in CHECKS if kinds is None or check.kind.name in kinds]
    found = ((check.kind, tuple(check.find(survey))) for check in chosen)
    findings = [Finding(kind=kind, affected=affected) for kind, affected in found if affected]
    return worst_first(findings)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings sorted by severity (`SEVERITIES`); the order within a severity is kept."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.kind.severity)))


def harmful(findings: Iterable[Finding]) -> bool:
    """Whether any finding breaks a run or biases its results."""
    return any(finding.kind.severity != "note" for finding in findings)

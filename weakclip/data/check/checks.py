"""All checks of a data set, and what their findings mean for a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weakclip.data.check import images as check_images
from weakclip.data.check import masks as check_masks
from weakclip.data.check import tags as check_tags
from weakclip.data.check.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weakclip.data.check.survey import Survey

CHECKS = (*check_images.CHECKS, *check_tags.CHECKS, *check_masks.CHECKS)
"""Images before tags before masks: who reads from the top mends causes before effects."""

SEVERITIES = ("breaks", "biases", "note")


def run_checks(survey: Survey) -> tuple[Finding, ...]:
    """What every check found, the worst first, then as in `CHECKS`; empty if all is well."""
    found = ((check.kind, tuple(check.find(survey))) for check in CHECKS)
    findings = [Finding(kind=kind, affected=affected) for kind, affected in found if affected]
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.kind.severity)))


def harmful(findings: Iterable[Finding]) -> bool:
    """Whether some finding breaks a run or biases its numbers."""
    return any(finding.kind.severity != "note" for finding in findings)

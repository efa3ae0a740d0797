"""The kinds of finding of an evaluation: why an image is not scored, and how to fix that."""

from __future__ import annotations

from weakclip.data.check.finding import Kind

TRUTH_MISSING = Kind(
    name="truth-missing",
    severity="breaks",
    what="images without ground truth; they are not scored",
    fix="copy the masks, or give a list of the images that have some",
)
TRUTH_UNREADABLE = Kind(
    name="truth-unreadable",
    severity="breaks",
    what="ground truth that is damaged or holds colours; these images are not scored",
    fix="use the original label files (palette or 8-bit grey PNG)",
)
TRUTH_LABELS = Kind(
    name="truth-labels",
    severity="breaks",
    what="ground truth with labels beyond the classes; these images are not scored",
    fix="give all classes in label order; COCO is numbered 1 to 80 or by its ids, 1 to 90",
)
MISSING = Kind(
    name="prediction-missing",
    severity="biases",
    what="images without a prediction; they are not scored",
    fix="make them, or score them as all background on purpose (missing='background')",
)
AS_BACKGROUND = Kind(
    name="prediction-as-background",
    severity="note",
    what="images without a prediction that were scored as all background",
    fix="none needed, if they have no tag; others of the field write no file for these",
)
UNREADABLE = Kind(
    name="prediction-unreadable",
    severity="breaks",
    what="predictions that cannot be read or become labels; these images are not scored",
    fix="see the message of each",
)
SIZE = Kind(
    name="prediction-size",
    severity="breaks",
    what="predictions of another size than the ground truth; these images are not scored",
    fix="predict at the size of the image: resized labels are other labels",
)
LABELS = Kind(
    name="prediction-labels",
    severity="breaks",
    what="predictions with labels beyond the classes; these images are not scored",
    fix="give all classes in label order, or count the labels of the predictions again",
)
SURPLUS = Kind(
    name="prediction-surplus",
    severity="note",
    what="predictions of images that are not scored",
    fix="none needed, if the list is a part of the data set on purpose",
)
KINDS = (
    TRUTH_MISSING, TRUTH_UNREADABLE, TRUTH_LABELS, UNREADABLE, SIZE, LABELS, MISSING,
    AS_BACKGROUND, SURPLUS,
)  # fmt: skip
"""All kinds, in the order of a report."""

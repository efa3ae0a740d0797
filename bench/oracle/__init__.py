"""What looks at the pixel annotation on purpose: seeds from the truth. Its rows are oracles."""

"""Selection of a checkpoint: rules without pixel annotation, and the oracle."""

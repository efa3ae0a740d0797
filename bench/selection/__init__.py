"""Which state of a training is used: rules without pixel annotation, and the oracle."""

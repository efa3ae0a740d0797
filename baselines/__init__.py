"""The rivals, one a file, each a PseudoMasker."""

"""WeakCLIP's network: one module per configuration slot, and the builder of the network."""

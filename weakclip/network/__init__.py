"""WeakCLIP's network: one module a slot of the configuration, and the builder of them all."""

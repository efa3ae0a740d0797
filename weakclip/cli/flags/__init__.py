"""The flags of the commands, one module per command; PyTorch is not imported."""

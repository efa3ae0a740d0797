"""Training-free dense CLIPs (MaskCLIP, SCLIP, ClearCLIP, ...): a map source and its settings."""

"""Training-free dense CLIPs (MaskCLIP, SCLIP, ClearCLIP, ...): one map source and its values."""

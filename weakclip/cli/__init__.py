"""The commands of `weakclip`, one module per command."""

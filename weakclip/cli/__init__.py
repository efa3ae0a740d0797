"""The commands of `weakclip`: one module a verb."""

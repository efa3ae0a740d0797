"""From tagged images to masks on disk; the door is `weakclip.masks`."""

"""Masks for people: of one image, of a folder, of images without tags."""

"""Tables, captions and findings, made from records alone."""

"""The sentences of tables, figures and the page."""

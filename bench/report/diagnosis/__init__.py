"""The report of the costliest errors: CSV rows, tables, sentences."""

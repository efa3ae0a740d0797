"""The report of what costs most: rows of CSV files, tables, sentences."""

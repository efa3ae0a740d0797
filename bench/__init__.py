"""The harness: studies, runs, records, tables, figures."""

"""Metrics about schemas, mismatches and database revisions, observed while the application runs."""

"""Parallel corpora: read, mixed, filtered."""

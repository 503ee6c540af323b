"""Processes that train together: who they are and whether they live."""

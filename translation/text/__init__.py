"""Text on its way to batches of ids, and scores of text."""

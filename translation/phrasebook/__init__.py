"""The embedded corpus: a grammar of three languages."""

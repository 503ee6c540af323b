"""The SavedModel of a language model, for servers."""

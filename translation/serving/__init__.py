"""The SavedModel of a translator, for servers."""

"""The folder of a run: its lock, its JSON files, its best weights."""

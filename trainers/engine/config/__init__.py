"""The configuration of a run: its fields, named presets, changes, files."""

"""Programs that train the models of `translation`. Flags exist only here."""

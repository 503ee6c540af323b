"""The dictionary of the grammar: English, French and German words."""

"""A small synchronous grammar of English, French and German.

A meaning is chosen once and put into words three times:

- `entries.py`: what an entry of the dictionary is; the dictionary itself
  stands in `nouns.py`, `verbs.py`, `adjectives.py`, `adverbials.py`,
  `numerals.py`, one entry a line, three languages beside each other.
- `meaning.py`: the tree that says what a sentence means.
- `english.py`, `french.py`, `german.py`: word order of a language; beside
  them `*_nominals.py` for its noun phrases, `*_forms.py` and `*_verbs.py` for
  its forms.
- `usage.py`: which words go together; `compose*.py`: chooses meanings.
"""

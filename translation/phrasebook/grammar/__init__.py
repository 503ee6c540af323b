"""A small synchronous grammar of English, French and German.

A meaning is chosen once and put into words three times:

- `lexicon/`: the dictionary, one entry a line, three languages side by side.
- `meaning.py`: the tree that says what a sentence means.
- `english.py`, `french.py`, `german.py`: `utterance` says a whole sentence;
  beside them `*_clauses.py` (word order, noun phrases), `*_nominals.py`
  (nouns), `*_verbs.py`, `*_verb_groups.py` (verbs) and `*_forms.py`
  (inflection, elision).
- `compose/`: chooses meanings; `usage.py` says which words go together.

Example:

>>> from translation.phrasebook.grammar import english, french, german
>>> from translation.phrasebook.grammar.lexicon.nouns import NOUNS
>>> from translation.phrasebook.grammar.lexicon.verbs import VERBS
>>> from translation.phrasebook.grammar.meaning import Clause, NounPhrase
>>> from translation.phrasebook.grammar.meaning import Utterance
>>> man, water = (NounPhrase(NOUNS[noun]) for noun in ("man", "water"))
>>> meaning = Utterance("statement", Clause(man, VERBS["drink"], water))
>>> for language in (english, french, german):
...     print(language.utterance(meaning))
The man drinks the water.
L'homme boit l'eau.
Der Mann trinkt das Wasser.
"""

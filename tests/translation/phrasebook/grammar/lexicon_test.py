"""The dictionary: complete, without double meanings, well formed."""

from collections import Counter

import pytest

from translation.phrasebook.grammar import french_verbs
from translation.phrasebook.grammar.compose import motives, usage
from translation.phrasebook.grammar.lexicon.adjectives import ADJECTIVES
from translation.phrasebook.grammar.lexicon.adverbials import ADVERBIALS, PLACES
from translation.phrasebook.grammar.lexicon.entries import (
    english_plural_of,
    french_plural_of,
    read_noun,
    read_verb,
    rows,
)
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.lexicon.numerals import NUMERALS
from translation.phrasebook.grammar.lexicon.verbs import VERBS

ADVERBS = [
    adverb
    for (kind, _), adverb in ADVERBIALS.items()
    if kind in ("frequency", "manner")
]


class TestLexicon:
    @pytest.mark.parametrize("language", ["english", "french", "german"])
    def test_has_at_least_250_content_words(self, language):
        words = {getattr(noun, language) for noun in NOUNS.values()}
        words |= {getattr(a, language) for a in ADJECTIVES.values()}
        words |= {getattr(adverb, language) for adverb in ADVERBS}
        for verb in VERBS.values():
            prefix = verb.german_prefix if language == "german" else ""
            words.add(prefix + getattr(verb, language))
        assert len(words) >= 250, len(words)

    def test_an_english_word_is_listed_once_in_its_class(self):
        for table, entries in (
            ("nouns", NOUNS),
            ("verbs", VERBS),
            ("adjectives", ADJECTIVES),
        ):
            counts = Counter(entry.english for entry in entries.values())
            twice = [word for word, count in counts.items() if count > 1]
            assert not twice, (table, twice)

    def test_kinds_and_groups_are_not_mistaken_for_nouns(self):
        kinds = set().union(*(noun.kinds for noun in NOUNS.values()))
        # These two kinds hold just the noun of their name.
        assert kinds & set(NOUNS) <= {"star", "money"}
        assert not set(usage.GROUPS) & (kinds | set(NOUNS))

    def test_every_place_is_a_noun(self):
        assert set(PLACES) <= set(NOUNS)
        places = {n.english for n in NOUNS.values() if "place" in n.kinds}
        assert places == set(PLACES)

    def test_german_nouns_have_capitals_and_french_ones_have_not(self):
        for noun in NOUNS.values():
            assert noun.german[0].isupper(), noun
            assert noun.german_plural[0].isupper(), noun
            assert noun.french[0].islower(), noun

    def test_every_use_names_words_that_exist(self):
        tables = (
            usage.EVERYTHING,
            usage.STATES,
            motives.DUTIES,
            motives.ATTEMPTS,
            motives.BEGINNINGS,
            motives.REQUESTS,
            [row for row, _ in motives.CAUSES + motives.HINDRANCES],
            [row for pair in motives.ERRANDS for row in pair],
        )
        for row in (row for table in tables for row in table):
            usage.nouns(row.who)
            usage.nouns(row.what)
            manners = usage.adverbials("manner", row.how)
            assert len(manners) == len(row.how), row
            kind = "goal" if row.verb.english in usage.GOING else "place"
            assert not row.where or usage.places(kind, row.where), row


class TestReading:
    def test_a_noun_by_rule_and_by_list(self):
        columns = ["knife, knives", "le couteau", "das Messer", "tool"]
        noun = read_noun(columns, ["thing"])
        assert (noun.english_plural, noun.french_plural) == (
            "knives",
            "couteaux",
        )
        assert noun.german_plural == "Messer"
        assert (noun.french_gender, noun.german_gender) == ("m", "n")
        assert noun.kinds == {"thing", "tool"}

    def test_plurals_by_rule(self):
        english = ["book", "box", "city", "boy"]
        assert list(map(english_plural_of, english)) == [
            "books",
            "boxes",
            "cities",
            "boys",
        ]
        french = ["livre", "souris", "gâteau", "cheval"]
        assert list(map(french_plural_of, french)) == [
            "livres",
            "souris",
            "gâteaux",
            "chevaux",
        ]

    def test_a_verb_with_prefix_and_government(self):
        verb = read_verb(
            ["listen to", "écouter", "zu+hören, hört, zugehört > dat"]
        )
        assert (verb.german_prefix, verb.german) == ("zu", "hören")
        assert verb.german_object == "dat"
        assert verb.german_auxiliary == "haben"
        assert verb.english_past == "listened to"

    def test_a_reflexive_verb(self):
        verb = read_verb(
            ["hurry", "se dépêcher", "sich beeilen, beeilt, beeilt"]
        )
        assert verb.french_reflexive and verb.german_reflexive
        assert (verb.french, verb.german) == ("dépêcher", "beeilen")
        assert verb.english_past == "hurried"

    def test_an_entry_may_go_on_below(self):
        table = "# thing\ncamera\n | le appareil | die Kamera"
        assert list(rows(table)) == [
            (["camera", "le appareil", "die Kamera"], ["thing"])
        ]


class TestFrenchVerbs:
    @pytest.mark.parametrize(
        "infinitive, expected",
        [
            ("manger", "mange mange mangeons mangez mangent"),
            ("commencer", "commence commence commençons commencez"
             " commencent"),
            ("acheter", "achète achète achetons achetez achètent"),
            ("appeler", "appelle appelle appelons appelez appellent"),
            ("répéter", "répète répète répétons répétez répètent"),
            ("nettoyer", "nettoie nettoie nettoyons nettoyez nettoient"),
            ("finir", "finis finit finissons finissez finissent"),
            ("vendre", "vends vend vendons vendez vendent"),
            ("comprendre", "comprends comprend comprenons comprenez"
             " comprennent"),
            ("appartenir", "appartiens appartient appartenons appartenez"
             " appartiennent"),
            ("construire", "construis construit construisons construisez"
             " construisent"),
            ("éteindre", "éteins éteint éteignons éteignez éteignent"),
        ],
    )  # fmt: skip
    def test_present(self, infinitive, expected):
        present, _, _ = french_verbs.principal_parts(infinitive)
        assert " ".join(present) == expected

    @pytest.mark.parametrize(
        "infinitive, expected",
        [
            ("aller", "ira"),
            ("acheter", "achètera"),
            ("répéter", "répétera"),
            ("appeler", "appellera"),
            ("envoyer", "enverra"),
            ("payer", "paiera"),
            ("recevoir", "recevra"),
            ("pleuvoir", "pleuvra"),
            ("vendre", "vendra"),
            ("courir", "courra"),
            ("revenir", "reviendra"),
        ],
    )
    def test_future(self, infinitive, expected):
        assert french_verbs.future(infinitive, french_verbs.IL) == expected

    @pytest.mark.parametrize(
        "infinitive, expected",
        [
            ("lire", "lu"),
            ("rire", "ri"),
            ("mettre", "mis"),
            ("ouvrir", "ouvert"),
            ("attendre", "attendu"),
            ("choisir", "choisi"),
            ("apprendre", "appris"),
            ("connaître", "connu"),
            ("écrire", "écrit"),
            ("suivre", "suivi"),
        ],
    )
    def test_participle(self, infinitive, expected):
        assert french_verbs.participle(infinitive) == expected

    def test_imperfect(self):
        forms = [
            french_verbs.imperfect(verb, french_verbs.ILS)
            for verb in ("être", "avoir", "vouloir", "devoir", "faire")
        ]
        expected = "étaient avaient voulaient devaient faisaient"
        assert forms == expected.split()


def test_numerals_leave_out_what_would_agree():
    assert NUMERALS[22] == ("twenty-two", "vingt-deux", "zweiundzwanzig")
    assert 21 not in NUMERALS and 11 in NUMERALS

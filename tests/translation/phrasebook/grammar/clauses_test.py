"""Tenses, negation, and clauses of being.

One exact example in three languages for each phenomenon.
"""

from saying import (
    ANNA,
    HE,
    IT,
    ME,
    PAUL,
    SHE,
    THEY,
    WE,
    adverb,
    at,
    do,
    np,
    say,
    some,
    to,
)

from translation.phrasebook.grammar.lexicon.adjectives import ADJECTIVES
from translation.phrasebook.grammar.lexicon.adverbials import PREPOSITIONS
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.meaning import (
    Age,
    Existence,
    Phrase,
    Quality,
    Role,
    State,
    Weather,
)


class TestTenses:
    def test_present_and_progressive(self):
        assert say(do(ANNA, "sleep", tense="progressive")) == (
            "Anna is sleeping.",
            "Anna dort.",
            "Anna schläft.",
        )

    def test_past_with_avoir_and_haben(self):
        assert say(do(SHE, "buy", np("hat", "a"), tense="past")) == (
            "She bought a hat.",
            "Elle a acheté un chapeau.",
            "Sie hat einen Hut gekauft.",
        )

    def test_past_with_etre_and_sein_agrees_with_the_subject(self):
        assert say(
            do(
                np("woman", plural=True),
                "come",
                tense="past",
                phrases=to("bank"),
            )
        ) == (
            "The women came to the bank.",
            "Les femmes sont venues à la banque.",
            "Die Frauen sind zur Bank gekommen.",
        )

    def test_participle_agrees_with_an_object_before_it(self):
        assert say(do(PAUL, "see", SHE, tense="past")) == (
            "Paul saw her.",
            "Paul l'a vue.",
            "Paul hat sie gesehen.",
        )

    def test_reflexive_verbs(self):
        assert say(do(ANNA, "rest", tense="past")) == (
            "Anna rested.",
            "Anna s'est reposée.",
            "Anna hat sich ausgeruht.",
        )
        assert say(do(ME, "hurry", negation="not")) == (
            "I do not hurry.",
            "Je ne me dépêche pas.",
            "Ich beeile mich nicht.",
        )

    def test_imperfect_and_preterite_of_be_and_have(self):
        said = Quality(ADJECTIVES["tired"])
        assert say(do(SHE, "be", complement=said, tense="past")) == (
            "She was tired.",
            "Elle était fatiguée.",
            "Sie war müde.",
        )
        assert say(do(SHE, "have", some("money"), tense="past")) == (
            "She had money.",
            "Elle avait de l'argent.",
            "Sie hatte Geld.",
        )

    def test_future(self):
        assert say(do(THEY, "send", np("letter"), tense="future")) == (
            "They will send the letter.",
            "Ils enverront la lettre.",
            "Sie werden den Brief schicken.",
        )

    def test_modals(self):
        for modal, tense, expected in (
            ("want", "present", ("He wants to", "Il veut", "Er will")),
            ("want", "past", ("He wanted to", "Il voulait", "Er wollte")),
            ("can", "present", ("He can", "Il peut", "Er kann")),
            ("must", "present", ("He must", "Il doit", "Er muss")),
            ("must", "past", ("He had to", "Il devait", "Er musste")),
            (
                "would like",
                "present",
                ("He would like to", "Il voudrait", "Er möchte"),
            ),
        ):
            spoken = say(do(HE, "read", np("book"), modal=modal, tense=tense))
            assert spoken == (
                f"{expected[0]} read the book.",
                f"{expected[1]} lire le livre.",
                f"{expected[2]} das Buch lesen.",
            )

    def test_separable_verbs(self):
        get_up = do(HE, "get up", manner=adverb("manner", "early"))
        assert say(get_up) == (
            "He gets up early.",
            "Il se lève tôt.",
            "Er steht früh auf.",
        )
        assert say(do(HE, "get up", tense="past"))[2] == "Er ist aufgestanden."
        assert say(do(HE, "get up", modal="must"))[2] == "Er muss aufstehen."
        assert say(do(HE, "go for a walk"))[2] == "Er geht spazieren."


class TestNegation:
    def test_definite_object(self):
        assert say(do(ME, "know", np("song"), negation="not")) == (
            "I do not know the song.",
            "Je ne connais pas la chanson.",
            "Ich kenne das Lied nicht.",
        )

    def test_indefinite_object_is_pas_de_and_kein(self):
        assert say(do(HE, "buy", some("bread"), negation="not")) == (
            "He does not buy bread.",
            "Il n'achète pas de pain.",
            "Er kauft kein Brot.",
        )
        assert say(do(ME, "have", np("car", "a"), negation="not")) == (
            "I do not have a car.",
            "Je n'ai pas de voiture.",
            "Ich habe kein Auto.",
        )

    def test_generic_object_keeps_its_article(self):
        assert say(do(ME, "like", np("fish", "generic"), negation="not")) == (
            "I do not like fish.",
            "Je n'aime pas le poisson.",
            "Ich mag keinen Fisch.",
        )

    def test_nicht_before_manner_place_and_prefix(self):
        drive = do(
            HE,
            "drive",
            np("car"),
            negation="not",
            manner=adverb("manner", "slowly"),
        )
        assert say(drive)[2] == "Er fährt das Auto nicht langsam."
        work = do(HE, "work", negation="not", phrases=at("office"))
        assert say(work)[2] == "Er arbeitet nicht im Büro."
        assert say(do(HE, "call", ANNA, negation="not"))[2] == (
            "Er ruft Anna nicht an."
        )

    def test_past_and_modal(self):
        assert say(do(SHE, "come", tense="past", negation="not")) == (
            "She did not come.",
            "Elle n'est pas venue.",
            "Sie ist nicht gekommen.",
        )
        assert say(do(SHE, "come", modal="can", negation="not")) == (
            "She cannot come.",
            "Elle ne peut pas venir.",
            "Sie kann nicht kommen.",
        )

    def test_never(self):
        assert say(do(PAUL, "smoke", negation="never")) == (
            "Paul never smokes.",
            "Paul ne fume jamais.",
            "Paul raucht nie.",
        )


class TestBeing:
    def test_predicative_adjectives_agree_in_french_only(self):
        said = Quality(ADJECTIVES["beautiful"], "very")
        assert say(do(np("house", plural=True), "be", complement=said)) == (
            "The houses are very beautiful.",
            "Les maisons sont très belles.",
            "Die Häuser sind sehr schön.",
        )

    def test_comparison(self):
        said = Quality(ADJECTIVES["big"], "more", np("cat"))
        assert say(do(np("dog"), "be", complement=said)) == (
            "The dog is bigger than the cat.",
            "Le chien est plus grand que le chat.",
            "Der Hund ist größer als die Katze.",
        )
        said = Quality(ADJECTIVES["good"], "more", np("tea"))
        assert say(do(np("soup"), "be", complement=said)) == (
            "The soup is better than the tea.",
            "La soupe est meilleure que le thé.",
            "Die Suppe ist besser als der Tee.",
        )
        said = Quality(ADJECTIVES["tall"], "as", ME)
        assert say(do(SHE, "be", complement=said)) == (
            "She is as tall as me.",
            "Elle est aussi grande que moi.",
            "Sie ist so groß wie ich.",
        )

    def test_states_are_had(self):
        hungry = State(adverb("state", "hungry"))
        assert say(do(ME, "be", complement=hungry, negation="not")) == (
            "I am not hungry.",
            "Je n'ai pas faim.",
            "Ich habe keinen Hunger.",
        )
        afraid = State(adverb("state", "afraid"))
        assert say(do(WE, "be", complement=afraid, tense="future")) == (
            "We will be afraid.",
            "Nous aurons peur.",
            "Wir werden Angst haben.",
        )

    def test_age(self):
        assert say(do(ANNA, "be", complement=Age(32))) == (
            "Anna is thirty-two years old.",
            "Anna a trente-deux ans.",
            "Anna ist zweiunddreißig Jahre alt.",
        )

    def test_profession_without_article(self):
        said = Role(NOUNS["engineer"])
        assert say(do(PAUL, "be", complement=said)) == (
            "Paul is an engineer.",
            "Paul est ingénieur.",
            "Paul ist Ingenieur.",
        )

    def test_weather(self):
        said = Weather(adverb("weather", "cold"))
        assert say(do(IT, "be", complement=said, tense="past")) == (
            "It was cold.",
            "Il faisait froid.",
            "Es war kalt.",
        )
        assert say(do(IT, "rain", tense="progressive")) == (
            "It is raining.",
            "Il pleut.",
            "Es regnet.",
        )

    def test_there_is(self):
        near = (Phrase(PREPOSITIONS["near"], np("church")),)
        there = do(
            IT, "be", np("bank", "a"), complement=Existence(), phrases=near
        )
        assert say(there) == (
            "There is a bank near the church.",
            "Il y a une banque près de l'église.",
            "Es gibt eine Bank in der Nähe der Kirche.",
        )

    def test_there_is_no(self):
        for thing, tense, expected in (
            (
                some("bread"),
                "present",
                (
                    "There is no bread.",
                    "Il n'y a pas de pain.",
                    "Es gibt kein Brot.",
                ),
            ),
            (
                some("church", "old", plural=True),
                "past",
                (
                    "There were no old churches.",
                    "Il n'y avait pas de vieilles églises.",
                    "Es gab keine alten Kirchen.",
                ),
            ),
            (
                np("bank", "a"),
                "future",
                (
                    "There will be no bank.",
                    "Il n'y aura pas de banque.",
                    "Es wird keine Bank geben.",
                ),
            ),
        ):
            words = {"complement": Existence(), "negation": "not"}
            assert say(do(IT, "be", thing, tense=tense, **words)) == expected

    def test_there_are_not_so_many(self):
        words = {"complement": Existence(), "negation": "not"}
        two = some("church", plural=True, number=2)
        assert say(do(IT, "be", two, **words))[0] == (
            "There are not two churches."
        )

    def test_angry_is_a_phrase_in_french_and_does_not_agree(self):
        said = Quality(ADJECTIVES["angry"], "very")
        assert say(do(np("woman", plural=True), "be", complement=said)) == (
            "The women are very angry.",
            "Les femmes sont très en colère.",
            "Die Frauen sind sehr wütend.",
        )

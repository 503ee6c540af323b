"""Articles, adjectives, numbers, possession, cases.

One exact example in three languages for each phenomenon.
"""

from saying import (
    ANNA,
    HE,
    ME,
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

from translation.phrasebook.grammar.lexicon.adverbials import PREPOSITIONS
from translation.phrasebook.grammar.meaning import Phrase


class TestNounPhrases:
    def test_french_elides_before_vowel_and_mute_h(self):
        assert say(do(np("man"), "drink", np("water"))) == (
            "The man drinks the water.",
            "L'homme boit l'eau.",
            "Der Mann trinkt das Wasser.",
        )

    def test_french_does_not_elide_before_aspirate_h(self):
        assert say(do(ME, "like", np("bean", "generic", plural=True))) == (
            "I like beans.",
            "J'aime les haricots.",
            "Ich mag Bohnen.",
        )
        assert say(do(ME, "eat", np("bean")))[1] == "Je mange le haricot."

    def test_cet_mon_and_german_dieser(self):
        assert say(do(np("man", "this"), "find", np("plate", "my"))) == (
            "This man finds my plate.",
            "Cet homme trouve mon assiette.",
            "Dieser Mann findet meinen Teller.",
        )

    def test_bel_vieil_nouvel_before_a_vowel(self):
        for adjective, expected in (
            ("beautiful", "un bel arbre"),
            ("old", "un vieil arbre"),
            ("new", "un nouvel arbre"),
        ):
            spoken = say(do(HE, "see", np("tree", "a", adjective)))
            assert spoken[1] == f"Il voit {expected}."

    def test_places_of_french_adjectives_and_mixed_german_endings(self):
        assert say(do(SHE, "buy", np("car", "a", "small", "red"))) == (
            "She buys a small red car.",
            "Elle achète une petite voiture rouge.",
            "Sie kauft ein kleines rotes Auto.",
        )

    def test_weak_endings_after_the_definite_article(self):
        assert say(do(HE, "see", np("dog", "the", "old"))) == (
            "He sees the old dog.",
            "Il voit le vieux chien.",
            "Er sieht den alten Hund.",
        )

    def test_strong_endings_without_article(self):
        assert say(do(HE, "drink", some("wine", "good"))) == (
            "He drinks good wine.",
            "Il boit du bon vin.",
            "Er trinkt guten Wein.",
        )

    def test_partitive_articles(self):
        things = (some("bread"), some("soup"), some("water"))
        spoken = [say(do(HE, "have", thing))[1] for thing in things]
        assert spoken == [
            "Il a du pain.",
            "Il a de la soupe.",
            "Il a de l'eau.",
        ]

    def test_des_is_de_before_an_adjective(self):
        assert say(do(WE, "buy", some("apple", plural=True))) == (
            "We buy apples.",
            "Nous achetons des pommes.",
            "Wir kaufen Äpfel.",
        )
        small = some("apple", "small", plural=True)
        assert say(do(WE, "buy", small)) == (
            "We buy small apples.",
            "Nous achetons de petites pommes.",
            "Wir kaufen kleine Äpfel.",
        )

    def test_numbers_and_irregular_plurals(self):
        seven = some("knife", plural=True, number=7)
        assert say(do(THEY, "find", seven)) == (
            "They find seven knives.",
            "Ils trouvent sept couteaux.",
            "Sie finden sieben Messer.",
        )
        two = np("horse", "my", "old", plural=True, number=2)
        assert say(do(ME, "feed", two)) == (
            "I feed my two old horses.",
            "Je nourris mes deux vieux chevaux.",
            "Ich füttere meine zwei alten Pferde.",
        )

    def test_quantities(self):
        assert say(do(np("guest", "every"), "sleep")) == (
            "Every guest sleeps.",
            "Chaque invité dort.",
            "Jeder Gast schläft.",
        )
        assert say(do(np("woman", "all", plural=True), "sleep")) == (
            "All the women sleep.",
            "Toutes les femmes dorment.",
            "Alle Frauen schlafen.",
        )
        many = np("bird", "many", "small", plural=True)
        assert say(do(ME, "hear", many)) == (
            "I hear many small birds.",
            "J'entends beaucoup de petits oiseaux.",
            "Ich höre viele kleine Vögel.",
        )
        assert say(do(ME, "hear", np("bird", "many", plural=True)))[1] == (
            "J'entends beaucoup d'oiseaux."
        )

    def test_contents(self):
        three = some("cup", plural=True, number=3, contents=some("coffee"))
        assert say(do(HE, "order", three)) == (
            "He orders three cups of coffee.",
            "Il commande trois tasses de café.",
            "Er bestellt drei Tassen Kaffee.",
        )
        glass = np("glass", "a", contents=some("water"))
        assert say(do(HE, "order", glass))[1] == "Il commande un verre d'eau."

    def test_genitive_and_its_french_contraction(self):
        car = np("car", "owner", owner=np("teacher"))
        assert say(do(ME, "see", car)) == (
            "I see the teacher's car.",
            "Je vois la voiture du professeur.",
            "Ich sehe das Auto des Lehrers.",
        )
        house = np(
            "house", "owner", "old", owner=np("parent", "my", plural=True)
        )
        assert say(do(ME, "see", house)) == (
            "I see my parents' old house.",
            "Je vois la vieille maison de mes parents.",
            "Ich sehe das alte Haus meiner Eltern.",
        )
        named = np("car", "owner", "old", owner=ANNA)
        assert say(do(ME, "see", named)) == (
            "I see Anna's old car.",
            "Je vois la vieille voiture d'Anna.",
            "Ich sehe Annas altes Auto.",
        )

    def test_a_and_an(self):
        for thing, expected in (
            (np("apple", "a"), "an apple"),
            (np("university", "a"), "a university"),
            (np("apple", "a", "red"), "a red apple"),
        ):
            assert say(do(ME, "see", thing))[0] == f"I see {expected}."


class TestCases:
    def test_weak_nouns(self):
        assert say(do(HE, "know", np("boy"))) == (
            "He knows the boy.",
            "Il connaît le garçon.",
            "Er kennt den Jungen.",
        )

    def test_dative_verbs_and_dative_plurals(self):
        assert say(do(SHE, "help", np("child", "the", plural=True))) == (
            "She helps the children.",
            "Elle aide les enfants.",
            "Sie hilft den Kindern.",
        )

    def test_recipient_precedes_object_in_german(self):
        give = do(
            HE, "give", np("book", "a"), recipient=np("woman", "the", "old")
        )
        assert say(give) == (
            "He gives a book to the old woman.",
            "Il donne un livre à la vieille femme.",
            "Er gibt der alten Frau ein Buch.",
        )

    def test_au_aux(self):
        man = do(HE, "answer", np("king"))
        men = do(HE, "answer", np("king", plural=True))
        uncle = do(HE, "answer", np("uncle"))
        assert say(man)[1] == "Il répond au roi."
        assert say(men)[1] == "Il répond aux rois."
        assert say(uncle)[1] == "Il répond à l'oncle."

    def test_prepositional_object(self):
        assert say(
            do(ME, "wait for", np("bus"), manner=adverb("manner", "patiently"))
        ) == (
            "I wait for the bus patiently.",
            "J'attends patiemment le bus.",
            "Ich warte geduldig auf den Bus.",
        )

    def test_need_takes_de(self):
        things = (
            some("money"),
            np("pen", "a"),
            np("book"),
            some("key", plural=True),
        )
        spoken = [say(do(SHE, "need", thing))[1] for thing in things]
        assert spoken == [
            "Elle a besoin d'argent.",
            "Elle a besoin d'un stylo.",
            "Elle a besoin du livre.",
            "Elle a besoin de clés.",
        ]

    def test_where_and_where_to(self):
        assert say(do(ME, "work", phrases=at("market"))) == (
            "I work at the market.",
            "Je travaille au marché.",
            "Ich arbeite auf dem Markt.",
        )
        assert say(do(ME, "go", phrases=to("market"))) == (
            "I go to the market.",
            "Je vais au marché.",
            "Ich gehe auf den Markt.",
        )
        assert say(do(ME, "go", phrases=to("school"))) == (
            "I go to the school.",
            "Je vais à l'école.",
            "Ich gehe in die Schule.",
        )
        assert say(do(ME, "go", phrases=to("station")))[2] == (
            "Ich gehe zum Bahnhof."
        )

    def test_near_takes_the_genitive(self):
        near = (Phrase(PREPOSITIONS["near"], np("hospital")),)
        assert say(do(WE, "wait", phrases=near)) == (
            "We wait near the hospital.",
            "Nous attendons près de l'hôpital.",
            "Wir warten in der Nähe des Krankenhauses.",
        )

    def test_object_pronouns(self):
        assert say(do(ME, "thank", HE)) == (
            "I thank him.",
            "Je le remercie.",
            "Ich danke ihm.",
        )
        assert say(do(HE, "see", SHE, negation="not")) == (
            "He does not see her.",
            "Il ne la voit pas.",
            "Er sieht sie nicht.",
        )
        show = do(ANNA, "show", np("photo"), recipient=THEY)
        assert say(show) == (
            "Anna shows them the photo.",
            "Anna leur montre la photo.",
            "Anna zeigt ihnen das Foto.",
        )
        assert say(do(SHE, "help", ME, modal="can")) == (
            "She can help me.",
            "Elle peut m'aider.",
            "Sie kann mir helfen.",
        )

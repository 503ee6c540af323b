"""Questions and requests.

One exact example in three languages for each phenomenon.
"""

from dataclasses import replace

from saying import HE, IT, ME, SHE, WHAT, WHO, YOU, adverb, do, np, say, some

from translation.phrasebook.grammar.meaning import Existence


class TestQuestions:
    def test_yes_or_no(self):
        assert say(do(YOU, "speak"), "question") == (
            "Do you speak?",
            "Est-ce que vous parlez ?",
            "Sprechen Sie?",
        )
        assert say(do(HE, "find", np("key"), tense="past"), "question") == (
            "Did he find the key?",
            "Est-ce qu'il a trouvé la clé ?",
            "Hat er den Schlüssel gefunden?",
        )

    def test_is_there(self):
        there = do(IT, "be", some("bread"), complement=Existence())
        assert say(there, "question") == (
            "Is there bread?",
            "Est-ce qu'il y a du pain ?",
            "Gibt es Brot?",
        )
        assert say(replace(there, negation="not"), "question") == (
            "Is there no bread?",
            "Est-ce qu'il n'y a pas de pain ?",
            "Gibt es kein Brot?",
        )

    def test_where_is(self):
        opening = adverb("opening", "Excuse me")
        asked = adverb("wh", "where")
        where = say(
            do(np("station"), "be"), "question", asked=asked, opening=opening
        )
        assert where == (
            "Excuse me, where is the station?",
            "Excusez-moi, où est la gare ?",
            "Entschuldigung, wo ist der Bahnhof?",
        )

    def test_when_and_why(self):
        leave = do(np("train"), "leave")
        assert say(leave, "question", asked=adverb("wh", "when")) == (
            "When does the train leave?",
            "Quand est-ce que le train part ?",
            "Wann fährt der Zug ab?",
        )
        cry = do(YOU, "cry", tense="progressive")
        assert say(cry, "question", asked=adverb("wh", "why")) == (
            "Why are you crying?",
            "Pourquoi est-ce que vous pleurez ?",
            "Warum weinen Sie?",
        )

    def test_who(self):
        assert say(do(WHO, "sing", tense="progressive"), "question") == (
            "Who is singing?",
            "Qui chante ?",
            "Wer singt?",
        )
        assert say(do(YOU, "meet", WHO, tense="past"), "question") == (
            "Who did you meet?",
            "Qui est-ce que vous avez rencontré ?",
            "Wen haben Sie getroffen?",
        )
        assert say(do(YOU, "help", WHO), "question")[2] == "Wem helfen Sie?"

    def test_what_which_how_many(self):
        assert say(do(SHE, "read", WHAT, tense="progressive"), "question") == (
            "What is she reading?",
            "Qu'est-ce qu'elle lit ?",
            "Was liest sie?",
        )
        which = np("dress", "which")
        assert say(do(SHE, "buy", which, tense="past"), "question") == (
            "Which dress did she buy?",
            "Quelle robe est-ce qu'elle a achetée ?",
            "Welches Kleid hat sie gekauft?",
        )
        how_many = np("egg", "how many", plural=True)
        assert say(do(YOU, "need", how_many), "question")[2] == (
            "Wie viele Eier brauchen Sie?"
        )
        assert say(do(YOU, "eat", how_many), "question") == (
            "How many eggs do you eat?",
            "Combien d'œufs est-ce que vous mangez ?",
            "Wie viele Eier essen Sie?",
        )

    def test_requests(self):
        assert say(do(YOU, "close", np("door")), "request") == (
            "Please close the door.",
            "Fermez la porte, s'il vous plaît.",
            "Schließen Sie bitte die Tür.",
        )
        bring = do(YOU, "bring", np("beer", "a"), recipient=ME)
        assert say(bring, "request") == (
            "Please bring me a beer.",
            "Apportez-moi une bière, s'il vous plaît.",
            "Bringen Sie mir bitte ein Bier.",
        )
        assert say(do(YOU, "hurry"), "request") == (
            "Please hurry.",
            "Dépêchez-vous, s'il vous plaît.",
            "Beeilen Sie sich bitte.",
        )

"""Word order, subordinate clauses, relatives.

One exact example in three languages for each phenomenon.
"""

from saying import (
    ANNA,
    HE,
    IT,
    ME,
    PAUL,
    SHE,
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
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.meaning import (
    Gap,
    Pair,
    Quality,
    Relative,
    State,
    Subordinate,
)


class TestWordOrder:
    def test_verb_second_after_time(self):
        yesterday = adverb("time", "yesterday")
        buy = do(
            np("woman"),
            "buy",
            some("apple", plural=True),
            tense="past",
            phrases=at("market"),
            time=yesterday,
            time_first=True,
        )
        assert say(buy) == (
            "Yesterday, the woman bought apples at the market.",
            "Hier, la femme a acheté des pommes au marché.",
            "Gestern hat die Frau Äpfel auf dem Markt gekauft.",
        )

    def test_time_manner_place(self):
        travel = do(
            HE,
            "travel",
            manner=adverb("manner", "by train"),
            phrases=(adverb("goal", "to Italy"),),
            time=adverb("time", "tomorrow"),
            tense="future",
        )
        assert say(travel) == (
            "He will travel to Italy by train tomorrow.",
            "Il voyagera en Italie en train demain.",
            "Er wird morgen mit dem Zug nach Italien reisen.",
        )

    def test_frequency(self):
        often = adverb("frequency", "often")
        assert say(do(SHE, "read", np("newspaper"), frequency=often)) == (
            "She often reads the newspaper.",
            "Elle lit souvent le journal.",
            "Sie liest oft die Zeitung.",
        )

    def test_well_stands_before_the_participle_in_french(self):
        slept = do(HE, "sleep", tense="past", manner=adverb("manner", "well"))
        assert say(slept) == (
            "He slept well.",
            "Il a bien dormi.",
            "Er hat gut geschlafen.",
        )

    def test_because_sends_the_german_verb_to_the_end(self):
        hungry = do(SHE, "be", complement=State(adverb("state", "hungry")))
        buy = do(
            np("woman", "the", "old"),
            "buy",
            some("apple", "green", plural=True, number=3),
            subordinate=Subordinate("because", hungry),
        )
        assert say(buy) == (
            "The old woman buys three green apples because she is hungry.",
            "La vieille femme achète trois pommes vertes parce qu'elle a faim.",
            "Die alte Frau kauft drei grüne Äpfel, weil sie Hunger hat.",
        )

    def test_separable_verb_at_the_end_is_one_word(self):
        early = do(HE, "get up", manner=adverb("manner", "early"))
        main = do(ME, "think", subordinate=Subordinate("that", early))
        assert say(main) == (
            "I think that he gets up early.",
            "Je pense qu'il se lève tôt.",
            "Ich denke, dass er früh aufsteht.",
        )

    def test_if_before_the_main_clause(self):
        rain = Subordinate("if", do(IT, "rain"), first=True)
        stay = do(
            WE,
            "stay",
            phrases=(adverb("place", "at home"),),
            tense="future",
            subordinate=rain,
        )
        assert say(stay) == (
            "If it rains, we will stay at home.",
            "S'il pleut, nous resterons à la maison.",
            "Wenn es regnet, werden wir zu Hause bleiben.",
        )

    def test_when_is_als_in_the_past_and_future_in_french(self):
        left = Subordinate("when", do(np("train"), "leave", tense="past"))
        assert say(do(ME, "cry", tense="past", subordinate=left)) == (
            "I cried when the train left.",
            "J'ai pleuré quand le train est parti.",
            "Ich habe geweint, als der Zug abgefahren ist.",
        )
        leaves = Subordinate("when", do(np("train"), "leave"))
        assert say(do(ME, "cry", tense="future", subordinate=leaves)) == (
            "I will cry when the train leaves.",
            "Je pleurerai quand le train partira.",
            "Ich werde weinen, wenn der Zug abfährt.",
        )

    def test_comparison_follows_the_final_verb(self):
        bigger = Quality(ADJECTIVES["big"], "more", np("cat"))
        inner = do(np("dog"), "be", complement=bigger)
        main = do(ANNA, "believe", subordinate=Subordinate("that", inner))
        assert say(main)[2] == (
            "Anna glaubt, dass der Hund größer ist als die Katze."
        )

    def test_purpose(self):
        buy = do(SHE, "buy", some("bread"))
        goes = do(SHE, "go", phrases=to("bakery"), purpose=buy)
        assert say(goes) == (
            "She goes to the bakery to buy bread.",
            "Elle va à la boulangerie pour acheter du pain.",
            "Sie geht zur Bäckerei, um Brot zu kaufen.",
        )
        rest = do(ME, "rest")
        assert say(do(ME, "go", phrases=to("park"), purpose=rest)) == (
            "I go to the park to rest.",
            "Je vais au parc pour me reposer.",
            "Ich gehe in den Park, um mich auszuruhen.",
        )

    def test_attempt(self):
        opening = do(HE, "open", np("door"))
        tried = do(HE, "try", tense="past", infinitive=opening)
        assert say(tried) == (
            "He tried to open the door.",
            "Il a essayé d'ouvrir la porte.",
            "Er hat versucht, die Tür zu öffnen.",
        )

    def test_and_but(self):
        one = do(ANNA, "sing", tense="progressive")
        two = do(PAUL, "sleep", tense="progressive")
        assert say(one, joint="and", also=two) == (
            "Anna is singing and Paul is sleeping.",
            "Anna chante et Paul dort.",
            "Anna singt und Paul schläft.",
        )
        assert say(one, joint="but", also=two)[2] == (
            "Anna singt, aber Paul schläft."
        )

    def test_pairs_are_masculine_unless_all_are_women(self):
        sister = np("sister", "his")
        both = Pair(PAUL, sister)
        women = Pair(ANNA, np("sister", "her"))
        assert say(do(both, "come", tense="past")) == (
            "Paul and his sister came.",
            "Paul et sa sœur sont venus.",
            "Paul und seine Schwester sind gekommen.",
        )
        assert say(do(women, "come", tense="past"))[1] == (
            "Anna et sa sœur sont venues."
        )


class TestRelatives:
    def relative(self, noun, clause, plural=False, **words):
        gap = Gap(NOUNS[noun], plural)
        return np(noun, plural=plural, relative=Relative(clause(gap), gap))

    def test_of_the_subject(self):
        man = self.relative(
            "man",
            lambda gap: do(
                gap, "live", phrases=(adverb("place", "in Vienna"),)
            ),
        )
        said = Quality(ADJECTIVES["old"])
        assert say(do(man, "be", complement=said)) == (
            "The man who lives in Vienna is old.",
            "L'homme qui habite à Vienne est vieux.",
            "Der Mann, der in Wien wohnt, ist alt.",
        )

    def test_of_the_object_with_agreement_and_case(self):
        table = self.relative(
            "table", lambda gap: do(ANNA, "buy", gap, tense="past")
        )
        assert say(do(ME, "like", table)) == (
            "I like the table that Anna bought.",
            "J'aime la table qu'Anna a achetée.",
            "Ich mag den Tisch, den Anna gekauft hat.",
        )

    def test_stands_behind_the_german_participle(self):
        book = self.relative(
            "book", lambda gap: do(ANNA, "read", gap, tense="past")
        )
        assert say(do(PAUL, "sell", book, tense="past")) == (
            "Paul sold the book that Anna read.",
            "Paul a vendu le livre qu'Anna a lu.",
            "Paul hat das Buch verkauft, das Anna gelesen hat.",
        )

    def test_government_of_the_verb(self):
        men = self.relative("man", lambda gap: do(ME, "help", gap), True)
        assert say(do(HE, "know", men)) == (
            "He knows the men that I help.",
            "Il connaît les hommes que j'aide.",
            "Er kennt die Männer, denen ich helfe.",
        )
        man = self.relative("man", lambda gap: do(ME, "answer", gap))
        assert say(do(HE, "know", man))[1] == (
            "Il connaît l'homme à qui je réponds."
        )
        boy = self.relative("boy", lambda gap: do(ME, "wait for", gap))
        assert say(do(HE, "know", boy))[2] == (
            "Er kennt den Jungen, auf den ich warte."
        )

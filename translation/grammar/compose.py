"""Chooses whole sentences: statements, questions and requests.

`compose(rng)` draws a kind of sentence and fills it; all chance is in `rng`.
"""

from dataclasses import replace

from translation.grammar import compose_being as be
from translation.grammar import compose_clauses as clauses
from translation.grammar import compose_nominals as choose
from translation.grammar import usage
from translation.grammar.adverbials import ADVERBIALS
from translation.grammar.compose_nominals import chance, pick, pick_weighted
from translation.grammar.meaning import (
    Clause,
    Gap,
    NounPhrase,
    Pronoun,
    Relative,
    Subordinate,
    Utterance,
)
from translation.grammar.verbs import VERBS

WHERE, WHEN, WHY = (ADVERBIALS["wh", w] for w in ("where", "when", "why"))
EXCUSE = ADVERBIALS["opening", "Excuse me"]
YES, NO = ADVERBIALS["opening", "Yes"], ADVERBIALS["opening", "No"]


def compose(rng):
    """The meaning of one sentence, an `Utterance`."""
    return pick_weighted(rng, SENTENCES)(rng)


def statement(clause):
    return Utterance("statement", clause)


def plain(rng):
    """One clause, now and then after yes or no."""
    clause = clauses.action(rng)
    opening = None
    if chance(rng, 0.06):
        opening = NO if clause.negation else YES
    return Utterance("statement", clause, opening=opening)


def short_clause(rng, subject, tense):
    """A clause about a person, to stand inside another sentence."""
    if tense == "present" and chance(rng, 0.35):
        return clauses.state(rng, subject)
    return clauses.action(rng, subject, tense, spare=True)


def description(rng):
    """One clause of being."""
    return statement(pick_weighted(rng, DESCRIPTIONS)(rng))


def mood(rng):
    return be.mood(rng, choose.person(rng))


def character(rng):
    return be.character(rng, choose.person(rng))


DESCRIPTIONS = (
    (be.quality, 34),
    (mood, 14),
    (character, 14),
    (be.age, 6),
    (be.profession, 7),
    (be.whereabouts, 14),
    (be.weather, 8),
    (clauses.price, 4),
)


def because(rng):
    """The boy is eating an apple because he is hungry."""
    tense = pick(rng, ("present", "progressive", "past", "future", "modal"))
    main = clauses.action(rng, main_subject(rng), tense, spare=True)
    return statement(
        replace(main, subordinate=Subordinate("because", reason(rng, main)))
    )


def main_subject(rng):
    """Somebody whom a pronoun can take up."""
    subject = choose.person(rng)
    while choose.back_reference(subject) is None:
        subject = choose.person(rng)
    return subject


def reason(rng, main):
    """Why: a mood, a wish, a duty or the weather."""
    subject = choose.back_reference(main.subject)
    past = main.tense == "past"
    tense = "past" if past else "present"
    kind = pick_weighted(
        rng, (("mood", 45), ("modal", 30), ("weather", 12), ("state", 13))
    )
    if kind == "weather":
        return be.weather(rng, tense, when=not past)
    if kind == "modal":
        modal = pick(rng, ("want", "must"))
        inner = clauses.action(rng, subject, "present", spare=True)
        inner = replace(inner, negation="", modal=modal, tense=tense)
        return without_reading(inner)
    if kind == "state" and not past:
        return clauses.state(rng, subject)
    return be.mood(rng, subject, tense)


def without_reading(clause):
    return clause


def conditional(rng):
    """If it rains, we will stay at home."""
    tense = pick(rng, ("future", "future", "present"))
    subject = main_subject(rng)
    main = clauses.action(rng, subject, tense, spare=True)
    main = replace(main, frequency=None)
    if tense == "present":
        main = replace(main, modal=pick(rng, ("can", "must")), negation="")
    if chance(rng, 0.4):
        condition = be.weather(rng, "present", when=False)
    elif chance(rng, 0.4):
        condition = clauses.state(rng, choose.back_reference(subject))
    else:
        condition = be.mood(rng, choose.back_reference(subject), "present")
    link = Subordinate("if", condition, chance(rng, 0.4))
    return statement(replace(main, subordinate=link))


def temporal(rng):
    """When the train arrived, Anna was reading ... in its three tenses."""
    tense = pick(rng, ("present", "past", "future"))
    subject = main_subject(rng)
    main = clauses.action(rng, subject, tense, spare=True)
    # Not "when the train arrives" of a future: English has the present there.
    inner = "past" if main.tense == "past" else "present"
    kind = pick(rng, ("event", "mood", "weather", "arrival"))
    if kind == "event":
        moment = replace(clauses.event(rng, inner), time=None)
    elif kind == "weather":
        moment = be.weather(rng, inner, when=False)
    elif kind == "mood":
        moment = be.mood(rng, choose.back_reference(subject), inner)
    else:
        moment = clauses.action(
            rng, choose.kin(rng), inner, row=usage.COMING, spare=True
        )
        moment = replace(moment, phrases=(), frequency=None)
    moment = replace(moment, negation="", frequency=None)
    link = Subordinate("when", moment, chance(rng, 0.4))
    return statement(replace(main, negation="", subordinate=link))


def simultaneous(rng):
    """Anna is reading while Paul is cooking."""
    one, two = rng.sample(choose.FIRST_NAMES, 2)
    if chance(rng, 0.4):
        two = choose.kin_of(rng, one)
    first = clauses.action(rng, one, "progressive", spare=True)
    second = clauses.action(rng, two, "progressive", spare=True)
    link = Subordinate("while", replace(second, negation=""))
    return statement(replace(first, negation="", subordinate=link))


def opinion(rng):
    """I think that the film is interesting."""
    verb = VERBS[pick(rng, ("think", "believe", "say", "hope"))]
    subject = choose.person(rng)
    kind = pick(rng, ("quality", "action", "weather", "person"))
    tense = "future" if verb.english == "hope" else ""
    if kind == "quality":
        content = be.quality(rng, tense or "present")
    elif kind == "weather":
        content = be.weather(rng, "future")
    elif kind == "person":
        other = choose.someone(rng, subject)
        content = be.mood(rng, other, tense or "present")
    else:
        tense = tense or pick(rng, ("past", "future"))
        content = clauses.action(rng, choose.someone(rng, subject), tense)
        content = replace(content, manner=None)
    content = replace(content, time_first=False)
    link = Subordinate("that", content)
    return statement(Clause(subject, verb, subordinate=link))


def with_relative(rng):
    """The man who lives in Paris is tired; I know the man who ..."""
    if chance(rng, 0.5):
        return person_with_relative(rng)
    return thing_with_relative(rng)


def person_with_relative(rng):
    """The woman who is buying bread; the woman whom Anna knows."""
    noun = pick(rng, choose.strangers(("person",)))
    plural = chance(rng, 0.25)
    gap = Gap(noun, plural)
    if chance(rng, 0.7):
        content = short_clause(rng, gap, pick(rng, ("present", "past")))
    else:
        row = pick(rng, usage.TOWARDS_PEOPLE)
        subject = choose.person(rng)
        tense = pick(rng, ("past", "future"))
        content = clauses.action(rng, subject, tense, row=row, spare=True)
        content = replace(content, object=gap)
    content = replace(content, negation="", frequency=None)
    head = NounPhrase(noun, "the", plural, relative=Relative(content, gap))
    if chance(rng, 0.4):
        knows = Clause(pick(rng, choose.PRONOUNS), VERBS["know"], object=head)
        return statement(knows)
    return statement(pick(rng, (be.mood, be.character))(rng, head))


def thing_with_relative(rng):
    """The book that Anna bought is interesting; I read the book that ..."""
    row = pick(rng, usage.WITH_THINGS)
    noun = pick(rng, usage.countable_things(row[2]))
    plural = chance(rng, 0.25) or "paired" in noun.kinds
    gap = Gap(noun, plural)
    content = clauses.action(
        rng,
        choose.person(rng),
        pick(rng, ("past", "past", "future", "present")),
        row=row,
        spare=True,
    )
    content = replace(content, object=gap, negation="", frequency=None)
    head = NounPhrase(noun, "the", plural, relative=Relative(content, gap))
    suitable = usage.SUITABLE[noun]
    if suitable and chance(rng, 0.6):
        said = be.Quality(pick(rng, suitable))
        return statement(be.being(rng, head, said, "present"))
    other = pick(rng, usage.rows_with(noun))
    tense = pick(rng, ("past", "future", "modal"))
    main = clauses.action(rng, choose.person(rng), tense, row=other, spare=True)
    return statement(replace(main, object=head, negation=""))


def purposeful(rng):
    """She goes to the market to buy apples."""
    goal, errands = pick(rng, usage.ERRANDS)
    verb, what = pick(rng, errands)
    row = (verb, ("person",), what, (), ())
    subject = choose.person(rng)
    inner = clauses.action(rng, subject, "present", row=row, spare=True)
    inner = replace(inner, negation="", frequency=None)
    tense = pick(rng, ("present", "past", "future", "modal"))
    main = clauses.action(
        rng, subject, tense, row=usage.going(goal), spare=True
    )
    words = {}
    if chance(rng, 0.25):
        words["time"] = clauses.time(rng, "future" if main.modal else tense)
        words["time_first"] = True
    if main.modal and main.tense == "past":
        words = {}
    return statement(
        replace(main, negation="", frequency=None, purpose=inner, **words)
    )


def attempt(rng):
    """He tries to open the door; she began to sing."""
    verb = VERBS[pick(rng, ("try", "try", "begin"))]
    subject = choose.person(rng)
    inner = clauses.action(rng, subject, "present", spare=True)
    inner = replace(inner, negation="", frequency=None)
    words = {"tense": pick(rng, ("present", "past", "future"))}
    if verb.english == "try" and chance(rng, 0.3):
        words["tense"] = "progressive"
    return statement(Clause(subject, verb, infinitive=inner, **words))


def joined(rng):
    """Anna is reading and Paul is cooking; he likes tea, but she ..."""
    one, two = choose.person(rng), choose.person(rng)
    joint = pick(rng, ("and", "but"))
    tense = pick(rng, ("present", "progressive", "past", "future"))
    first = short_clause(rng, one, tense)
    second = short_clause(rng, two, tense)
    return Utterance("statement", first, joint=joint, also=second)


def yes_or_no(rng):
    """Does she speak? Is the soup cold? Is there a bank near here?"""
    kind = pick_weighted(
        rng, (("action", 50), ("being", 25), ("there", 15), ("state", 10))
    )
    if kind == "being":
        content = pick(rng, (be.quality, mood, be.whereabouts))(rng)
    elif kind == "there":
        content = clauses.existence_of(rng)
    elif kind == "state":
        content = clauses.state(rng, asked_person(rng))
    else:
        content = clauses.action(rng, asked_person(rng))
    content = replace(content, negation="", time_first=False)
    excuse = kind == "there" and chance(rng, 0.3)
    return Utterance("question", content, opening=EXCUSE if excuse else None)


def asked_person(rng):
    """Whom a question is about: mostly you."""
    if chance(rng, 0.4):
        return Pronoun("you")
    return choose.person(rng)


def adverbial_question(rng):
    """Where is the station? When does the train leave? Why ...?"""
    asked = pick(rng, (WHERE, WHERE, WHEN, WHY))
    opening = None
    if asked is WHERE and chance(rng, 0.5):
        noun = pick(rng, usage.nouns(usage.SOUGHT))
        kind = "the" if "place" in noun.kinds else pick(rng, ("my", "your"))
        subject = NounPhrase(noun, kind, "paired" in noun.kinds)
        content = Clause(subject, VERBS["be"])
        opening = EXCUSE if chance(rng, 0.3) else None
    elif asked is WHEN and chance(rng, 0.5):
        content = replace(clauses.event(rng), time=None, manner=None)
    elif asked is WHERE:
        row = pick(rng, usage.PLACED)
        content = clauses.action(rng, asked_person(rng), row=row, spare=True)
    else:
        content = clauses.action(rng, asked_person(rng), spare=True)
    if asked is not WHY:
        content = replace(content, negation="", frequency=None)
    if asked is WHEN and content.tense == "progressive":
        content = replace(content, tense="future")
    return Utterance("question", content, asked=asked, opening=opening)


def who_question(rng):
    """Who is singing? Who do you see?"""
    who = Pronoun("who")
    if chance(rng, 0.65):
        content = clauses.action(rng, who, pick(rng, QUESTION_TENSES))
    else:
        row = pick(rng, usage.TOWARDS_PEOPLE)
        content = clauses.action(
            rng, asked_person(rng), pick(rng, QUESTION_TENSES), row, True
        )
        content = replace(content, object=who)
    content = replace(content, time_first=False, negation="", frequency=None)
    return Utterance("question", content)


QUESTION_TENSES = ("present", "progressive", "past", "future")


def what_question(rng):
    """What does she read? Which book, how many books?"""
    row = pick(rng, usage.WITH_THINGS)
    noun = pick(rng, usage.countable_things(row[2]))
    tense = pick(rng, QUESTION_TENSES)
    content = clauses.action(rng, asked_person(rng), tense, row, True)
    kind = pick(rng, ("what", "which", "which many", "how many"))
    thing = Pronoun("what")
    if kind.startswith("which"):
        plural = kind == "which many" or "paired" in noun.kinds
        thing = NounPhrase(noun, "which", plural)
    elif kind == "how many":
        thing = NounPhrase(noun, "how many", True)
    content = replace(content, object=thing, negation="", frequency=None)
    return Utterance("question", content)


def request(rng):
    """Please close the door. Please bring me a glass of water."""
    row = pick(rng, usage.REQUESTED)
    speaker = Pronoun("you")
    content = clauses.action(rng, speaker, "present", row, True)
    if content.recipient:
        recipient = pick(rng, (Pronoun("I"), Pronoun("we"), Pronoun("I")))
        content = replace(content, recipient=recipient)
    manners = usage.adverbials("manner", row[3])
    if manners and (not row[2] or chance(rng, 0.3)):
        manner = pick(rng, manners)
        if manner.english != "together":
            content = replace(content, manner=manner)
    content = replace(content, negation="", frequency=None)
    return Utterance("request", content)


def state(rng):
    return statement(clauses.state(rng))


def event(rng):
    return statement(clauses.event(rng))


def there_is(rng):
    return statement(clauses.existence_of(rng))


SENTENCES = (
    (plain, 30),
    (description, 16),
    (state, 6),
    (event, 2),
    (there_is, 4),
    (because, 6),
    (conditional, 4),
    (temporal, 5),
    (simultaneous, 2),
    (opinion, 5),
    (with_relative, 6),
    (purposeful, 4),
    (attempt, 3),
    (joined, 3),
    (yes_or_no, 7),
    (adverbial_question, 6),
    (who_question, 3),
    (what_question, 4),
    (request, 4),
)

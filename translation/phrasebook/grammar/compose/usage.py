"""Which words go together: who does what, how and where.

`verb | who | what | how | where`; the columns name nouns, kinds of nouns
(`lexicon/nouns.py`), groups of both (below), and adverbials. Names of several
words have an underscore.
"""

from functools import cache
from typing import NamedTuple

from translation.phrasebook.grammar.lexicon.adjectives import ADJECTIVES
from translation.phrasebook.grammar.lexicon.adverbials import ADVERBIALS, PLACES
from translation.phrasebook.grammar.lexicon.entries import Verb
from translation.phrasebook.grammar.lexicon.nouns import NOUNS
from translation.phrasebook.grammar.lexicon.verbs import VERBS

GROUPS = {
    "adult": "man woman neighbour tourist customer guest king boss job queen"
    " lady nurse",
    "puzzle": "exercise problem text recipe",
    "warmth": "coat jacket jumper scarf glove",
    "coloured": "shirt dress skirt jacket scarf tie hat car bicycle bus boat"
    " bag suitcase box umbrella flower pen door chair sofa cup plate ball",
    "native": "book newspaper film song car wine cheese job tourist",
    "goods": "food drink grocery clothes pen pencil watch wallet ticket"
    " tableware machine toy flower rose umbrella bag suitcase guitar",
    "small": "fruit egg carrot onion potato bean biscuit flower rose reading"
    " language pen pencil ticket tableware vessel post photo picture",
}

# what is done: may be told in every tense
ACTIONS = """
eat | person | food | slowly quickly | kitchen garden eatery at_home
drink | person | drink | slowly quickly | kitchen garden eatery at_home
prepare | person | dish | slowly quickly | kitchen at_home
order | person | dish drink | | restaurant hotel
buy | person | goods bicycle furniture | | market shop supermarket
sell | adult | goods | | market shop
pay | adult | bill | | restaurant hotel
read | person | reading | attentively slowly | library garden at_home kitchen
write | person | tale letter postcard sentence | slowly quickly | office
translate | person | text language tale | slowly quickly | school
repeat | person | language | slowly loudly quietly | school
learn | person | word sentence song tongue | quickly slowly | school
understand | person | question text sentence word problem idea tongue
sign | adult | contract letter bill | quickly | bank office
accept | person | invitation gift contract
open | person | door window box suitcase letter package | carefully quietly
close | person | door window box suitcase book | quietly quickly
switch on | person | lamp computer | | kitchen office bedroom
switch off | person | lamp computer phone | | kitchen office bedroom
see | person | person animal car train tourist | | street forest park garden
look at | person | view star clothes | attentively | at_home
hear | person | song bird music dog | | street garden
look for | person | pocket clothes bag umbrella | | at_home garden street
find | person | pocket clothes bag umbrella toy | | garden street park
lose | person | pocket bag umbrella glove ball | | street market forest
forget | person | pocket umbrella bag word luggage
take | person | train bus taxi pencil pen umbrella
bring | person | food drink present luggage umbrella
carry | person | luggage chair child | carefully slowly
choose | person | clothes present book film recipe | slowly quickly | shop
receive | person | post gift money
fill | person | vessel bag box | slowly carefully | kitchen
wash | person | clothes tableware car dog vessel | slowly quickly | garden
clean | person | room window shoe mirror | slowly quickly
repair | adult | machine mended car watch chair | quickly | garage
build | adult | house wall bridge boat tower
draw | person | animal flower tree house castle | quickly | school at_home
photograph | person | flower sight bird mountain | | park city
drive | adult | driven | slowly carefully quickly | city village
rent | adult | car bicycle boat house | | city
steal | adult | valuable money car bicycle wallet bag
put on | person | warmth hat shoe | quickly slowly | bedroom
take off | person | warmth hat shoe | quickly slowly | bedroom
visit | person | sight | | city
finish | person | letter exercise course journey | quickly
feed | person | animal | | farm garden park
call | person | person taxi | | at_home
meet | person | person | | eatery station park cinema
invite | person | person
help | person | person | | kitchen garden
thank | person | person
follow | person | person dog | slowly | street forest
answer | person | person | slowly quickly
listen to | person | person | attentively patiently
wait for | person | person train bus taxi | patiently | station here
sleep | person animal | | well badly | bedroom garden hotel at_home
work | adult | | slowly quickly together | workplace city at_home
study | adult | | | city university
cook | adult | | well badly together | kitchen restaurant
wait | person | | patiently together | station airport here there
speak | person | | slowly loudly quietly | school
sing | person | | well badly loudly together | church theatre park
dance | person | | well badly together | street square
play | young pet | | quietly together | garden park outside
laugh | person | | loudly | theatre cinema
cry | young | | loudly quietly | bedroom
smoke | adult | | | outside street
swim | person swimmer | | well slowly quickly | bath
run | person runner | | quickly slowly together | park forest garden
stay | person | | | at_home here hotel hospital city
get up | person | | early late slowly
wake up | person | | early late
hurry | person
rest | person | | | at_home garden hotel here beach
go for a walk | person | | together | park forest city
bark | dog | | loudly | garden street
fly | flier | | quickly slowly
bloom | flower rose tree | | | garden park
shine | sun moon star
"""

# where one moves to
MOVES = """
go | person | | on_foot | goal room garden church home
come | person | | by_bus by_train by_bicycle | goal city country
come back | person | | by_train by_bus | city country
travel | person | | by_train by_bus by_bicycle | city country
arrive | person | | early late | stop hotel city
"""

# what one person does for another with a thing
TRANSFERS = """
give | person | present toy pen pencil umbrella food drink book money
show | person | view sight garden clothes animal
send | person | post gift flower photo
lend | person | book car bicycle umbrella pen money jacket
explain | person | puzzle word sentence idea
tell | person | story
write | person | letter postcard poem
"""

# what holds for long: present only
STATES = """
know | person | person city village song story museum restaurant recipe
love | person | person animal tongue music sea forest flower
like | person | food drink tongue music animal flower film song
hate | person | onion fish meat cheese music mouse concert
need | person | money ticket umbrella key pen warmth phone passport
have | person | pet car bicycle boat machine house garden problem idea
belong to | car house dog cat bag book bicycle umbrella key | person
live | person | | | dwelling city country
"""

GOING = frozenset(("go", "come", "come back", "travel"))  # place is a goal
GENERIC = frozenset(("like", "love", "hate"))  # said of kinds
MOMENTARY = frozenset(  # not "is finding"
    ("see", "find", "hear", "understand", "forget", "lose", "receive")
)
INVOLUNTARY = frozenset(("forget", "lose", "receive", "hear", "find"))
PLACE_NEEDED = frozenset(("stay",))
# In motives and requests these are done to things at hand.
UPON_THE = frozenset(("open", "close", "put on", "take off", "drive"))


class Usage(NamedTuple):
    """A row of a table; the columns hold names."""

    verb: Verb
    who: tuple[str, ...]
    what: tuple[str, ...] = ()
    how: tuple[str, ...] = ()
    where: tuple[str, ...] = ()


def usage(line):
    """The `Usage` of one line."""
    verb, *columns = (column.strip() for column in line.split("|"))
    return Usage(VERBS[verb], *(tuple(column.split()) for column in columns))


def _usages(table):
    return tuple(usage(line) for line in table.strip().splitlines())


ACTIONS = _usages(ACTIONS)
MOVES = _usages(MOVES)
TRANSFERS = _usages(TRANSFERS)
STATES = _usages(STATES)
HUMAN = (("person",), ("adult",))
HUMAN_ACTIONS = tuple(
    row for row in ACTIONS + TRANSFERS + MOVES if row.who in HUMAN
)
LASTING = frozenset(("understand", "learn", "study", "build", "rent"))
MOMENTS = tuple(row for row in HUMAN_ACTIONS if row.verb.english not in LASTING)
HUMAN_STATES = tuple(row for row in STATES if row.who in HUMAN)
# Moves and transfers come more often than their few rows would.
EVERYTHING = ACTIONS + ACTIONS + (TRANSFERS + MOVES) * 2 + MOVES
TOWARDS_PEOPLE = tuple(row for row in ACTIONS if row.what[:1] == ("person",))
PLACED = tuple(row for row in ACTIONS if row.where and row.who in HUMAN)


@cache
def nouns(names):
    """The nouns that names of nouns, kinds and groups stand for."""
    chosen = {}
    for name in names:
        if name in GROUPS:
            found = nouns(tuple(GROUPS[name].split()))
        else:
            found = [n for n in NOUNS.values() if name in n.kinds]
            found = found or [NOUNS[name.replace("_", " ")]]
        chosen |= dict.fromkeys(found)
    return tuple(chosen)


@cache
def adverbials(kind, names):
    """Adverbials of a kind, by their own names or kinds within it."""
    return tuple(
        adverbial
        for (section, english), adverbial in ADVERBIALS.items()
        if section == kind
        and (
            english.replace(" ", "_") in names
            or (adverbial.kinds - {kind}).intersection(names)
        )
    )


@cache
def places(kind, names):
    """Nouns of places and adverbials of a kind that names stand for."""
    here = adverbials(kind, names)
    adverbs = {adverbial.english.replace(" ", "_") for adverbial in here}
    if kind == "goal":
        adverbs.add("city")  # to Paris, not to the city
    known = tuple(n for n in names if n not in adverbs and n != "country")
    return tuple(n for n in nouns(known) if n.english in PLACES) + here


@cache
def countable_things(names):
    """The things among nouns that one can count."""
    return tuple(
        noun
        for noun in nouns(names)
        if noun.kinds.isdisjoint({"mass", "person", "unique"})
    )


# Actions upon things that a relative or a question can move to the front.
WITH_THINGS = tuple(
    row
    for row in ACTIONS
    if row.who in HUMAN
    and row.what
    and countable_things(row.what)
    and not row.verb.german_object
)


@cache
def actions_upon(noun):
    """What can be done with a thing."""
    return tuple(row for row in WITH_THINGS if noun in nouns(row.what))


@cache
def people(who):
    """People who are nobody's relatives."""
    return tuple(noun for noun in nouns(who) if "kin" not in noun.kinds)


def _suitable():
    """{noun: its adjectives}; moods are said of people, not put before."""
    suitable = {noun: [] for noun in NOUNS.values()}
    for adjective in ADJECTIVES.values():
        for noun in nouns(adjective.nouns):
            suitable[noun].append(adjective)
    return {noun: tuple(found) for noun, found in suitable.items()}


SUITABLE = _suitable()
# Said of it with "to be": not "new", which would be "neuf" in French.
SAID_OF = {
    noun: tuple(a for a in suitable if a.english != "new")
    for noun, suitable in SUITABLE.items()
}
MOODS = tuple(a for a in ADJECTIVES.values() if a.kind == "mood")
SMALL = frozenset(nouns(("small",)))

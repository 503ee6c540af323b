"""Which words go together: who does what, how and where.

`verb | who | what | how | where`; the columns name nouns, kinds of nouns
(`nouns.py`), groups of both (below), and adverbials.
"""

from functools import cache

from translation.grammar.adjectives import ADJECTIVES
from translation.grammar.adverbials import ADVERBIALS, PLACES
from translation.grammar.entries import rows
from translation.grammar.meaning import Existence
from translation.grammar.nouns import NOUNS
from translation.grammar.verbs import VERBS

GROUPS = {
    "adult": "man woman neighbour tourist customer guest king boss job queen"
    " lady nurse",
    "puzzle": "exercise problem text recipe",
    "warmth": "coat jacket jumper scarf glove",
    "coloured": "shirt dress skirt jacket scarf tie hat car bicycle bus boat"
    " bag suitcase box umbrella flower pen door chair sofa cup plate ball",
    "native": "book newspaper film song car wine cheese job tourist",
    "goods": "food drink grocery clothes pocket tableware machine toy flower"
    " rose umbrella bag suitcase guitar",
    "errand": "bread milk flower fruit newspaper ticket cheese shoe coat",
}

# what is done: may be told in every tense
ACTIONS = """
# action
eat | person | food | slowly quickly | kitchen garden eatery park at_home
drink | person | drink | slowly quickly | kitchen garden eatery at_home
prepare | person | dish cake salad | carefully quickly | kitchen at_home
order | person | dish cake drink | | restaurant hotel
buy | person | goods bicycle furniture | | shop
sell | adult | goods car bicycle furniture | | market shop
pay | adult | bill ticket | | restaurant hotel
read | person | text | attentively slowly | library garden at_home kitchen
write | person | tale letter postcard sentence | slowly carefully | office
translate | person | text language tale | slowly carefully | school
repeat | person | language | slowly loudly quietly | school
learn | person | word sentence song tongue | quickly slowly | school
understand | person | question text sentence word problem idea tongue | |
sign | adult | contract letter bill | quickly | bank office
accept | person | invitation gift contract idea | |
open | person | door window box suitcase letter package | carefully quietly |
close | person | door window box suitcase book | carefully quietly quickly |
switch on | person | lamp computer camera | | kitchen office bedroom
switch off | person | lamp computer phone | | kitchen office bedroom
see | person | person animal vehicle | | street forest park garden
look at | person | view star clothes | attentively | museum office at_home
hear | person | song bird music dog | | street garden
look for | person | pocket clothes bag umbrella | | at_home garden street
find | person | pocket clothes bag umbrella toy | | garden street park
lose | person | pocket bag umbrella glove ball | | street market forest
forget | person | pocket umbrella bag word luggage | |
take | person | train bus taxi pencil pen umbrella photo | |
bring | person | food drink present luggage umbrella | |
carry | person | luggage furniture child | carefully slowly |
choose | person | clothes present book film recipe | carefully | shop
receive | person | post gift money | |
fill | person | vessel bag box | slowly carefully | kitchen
wash | person | clothes tableware car dog vessel | carefully | garden kitchen
clean | person | room window shoe mirror tableware | carefully quickly |
repair | adult | machine mended car furniture watch | quickly | garage
build | adult | house wall bridge boat tower | |
draw | person | animal flower tree house castle | carefully | school at_home
photograph | person | flower sight bird mountain | | park city
drive | adult | driven | slowly carefully quickly | city village
rent | adult | car bicycle boat house | | city
steal | adult | valuable money car bicycle wallet bag | |
put on | person | clothes | quickly slowly | bedroom
take off | person | clothes | quickly slowly | bedroom
visit | person | sight | | city
finish | person | letter exercise book journey contract | quickly |
feed | person | animal | | farm garden park
call | person | person taxi | | at_home
meet | person | person | | eatery station park cinema
invite | person | person | |
help | person | person | | kitchen garden
thank | person | person | |
follow | person | person dog | slowly | street forest
answer | person | person | slowly quickly |
listen to | person | person | attentively patiently |
wait for | person | person train bus taxi | patiently | station here
sleep | person animal | | well badly | bedroom garden hotel at_home
work | adult | | slowly carefully together | workplace city at_home
study | adult student | | | library city university
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
get up | person | | early late slowly |
wake up | person | | early late |
hurry | person | | |
rest | person | | | at_home garden hotel here beach
go for a walk | person | | together | park forest city
bark | dog | | loudly | garden street
fly | flier | | quickly slowly |
"""

# where one moves to
MOVES = """
# move
go | person | | on_foot | goal room garden church home
come | person | | by_bus by_train by_bicycle | goal
come back | person | | by_train by_bus | city country
travel | person | | by_train by_bus by_bicycle | city country
arrive | person | | early late | stop hotel city
"""

# what one person does for another with a thing
TRANSFERS = """
# transfer
give | person | present toy pocket food drink book money
show | person | view sight garden clothes animal
send | person | post gift flower photo
lend | person | book car bicycle umbrella pen money jacket
explain | person | puzzle word sentence idea
tell | person | story
sell | adult | car bicycle house guitar
write | person | letter postcard poem
"""

# what holds for long: present only
STATES = """
# stative
know | person | person city village song story museum restaurant recipe
love | person | person animal tongue music sea forest flower
like | person | food drink tongue music animal flower film song
hate | person | onion fish meat cheese music mouse concert
need | person | goods money exercise ticket umbrella
have | person | vehicle animal machine house garden money pocket problem
belong to | car house dog cat bag book bicycle umbrella key | person |
live | person | | | dwelling city country
"""


def _usages(table):
    for columns, _ in rows(table):
        verb, *words = columns
        words += [""] * (4 - len(words))
        yield VERBS[verb], *(tuple(column.split()) for column in words)


ACTIONS = tuple(_usages(ACTIONS))
MOVES = tuple(_usages(MOVES))
TRANSFERS = tuple(_usages(TRANSFERS))
STATES = tuple(_usages(STATES))


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
            or adverbial.kinds.intersection(names)
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


def _suitable():
    """{noun: its adjectives}; moods are said of people, not put before."""
    suitable = {noun: [] for noun in NOUNS.values()}
    for adjective in ADJECTIVES.values():
        for noun in nouns(adjective.nouns):
            suitable[noun].append(adjective)
    return {noun: tuple(found) for noun, found in suitable.items()}


SUITABLE = _suitable()
MOODS = tuple(a for a in ADJECTIVES.values() if a.kind == "mood")

# Verbs whose place is a goal, and verbs said of kinds rather than things.
GOING = frozenset(("go", "come", "come back", "travel"))
GENERIC = frozenset(("like", "love", "hate"))
EXISTENCE = Existence()

# What there is, and where: nouns | places ("near": beside a building).
EXISTING = tuple(
    (tuple(names.split()), tuple(where.split()))
    for names, where in (
        ("bank pharmacy bakery hotel restaurant", "near"),
        ("market supermarket cinema museum", "near"),
        ("school church library park", "village city"),
        ("chair table lamp mirror", "kitchen bedroom living_room office"),
        ("cup plate glass bottle knife", "kitchen"),
        ("bird tree flower dog cat child", "garden park"),
        ("cow horse pig goat duck", "farm"),
        ("bicycle car box suitcase", "garage cellar"),
        ("tourist shop car tree", "street square city"),
        ("boat", "lake river sea"),
        ("bread milk cheese water butter", "kitchen"),
        ("guest customer", "hotel restaurant market shop"),
    )
)
WHEREABOUTS = tuple(
    "room outdoors city country at_home here there school hospital office"
    " restaurant hotel library market station".split()
)
LYING = tuple("pocket bag umbrella toy glove shoe book letter cat".split())
SOUGHT = tuple("building stop bakery market pocket bag umbrella".split())
REQUESTED_VERBS = (
    "open close sign repeat explain bring show give lend switch_on switch_off"
    " wait hurry speak"
).split()
ERRANDS_TABLE = """
market | buy fruit, buy egg cheese fish flower, sell fruit egg cheese
bakery | buy bread cake biscuit
supermarket | buy milk rice meat butter sugar, buy carrot onion potato
library | read book newspaper magazine, look_for book, study
restaurant | eat dish, drink wine beer coffee
swimming pool | swim
station | wait_for train, take train
school | learn tongue, learn song
museum | look_at picture, photograph picture
cinema | see film
park | run, rest, play, go_for_a_walk
beach | swim, rest, play
hospital | see doctor, work
bank | work
university | study, learn tongue
garden | rest, draw tree flower, feed bird rabbit, smoke
kitchen | prepare dish, wash tableware, drink water milk
"""

HUMAN = (("person",), ("adult",))
HUMAN_ACTIONS = tuple(
    row for row in ACTIONS + TRANSFERS + MOVES if row[1] in HUMAN
)
HUMAN_STATES = tuple(row for row in STATES if row[1] in HUMAN)
COMING = (VERBS["come back"], ("person",), (), (), ("city",))
TOWARDS_PEOPLE = tuple(row for row in ACTIONS if row[2][:1] == ("person",))
REQUESTED = tuple(
    row
    for row in ACTIONS + TRANSFERS
    if row[0].english.replace(" ", "_") in REQUESTED_VERBS
)
PLACED = tuple(row for row in HUMAN_ACTIONS if row[4] and row not in MOVES)


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
    if row[1] in HUMAN and row[2] and countable_things(row[2])
)


@cache
def rows_with(noun):
    """What else can be done with a thing."""
    return tuple(row for row in WITH_THINGS if noun in nouns(row[2]))


def going(goal):
    """The row of going to one goal."""
    return VERBS["go"], ("person",), (), (), (goal,)


def _errands():
    for columns, _ in rows(ERRANDS_TABLE):
        goal, errands = columns
        chosen = []
        for errand in errands.split(","):
            verb, *what = errand.split()
            chosen.append((VERBS[verb.replace("_", " ")], tuple(what)))
        yield goal.replace(" ", "_"), tuple(chosen)


ERRANDS = tuple(_errands())

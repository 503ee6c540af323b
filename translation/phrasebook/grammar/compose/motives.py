"""Why, whether and when people act, and where things are to be found."""

from translation.phrasebook.grammar.compose.usage import Usage, usage
from translation.phrasebook.grammar.lexicon.entries import rows
from translation.phrasebook.grammar.lexicon.verbs import VERBS

# action (as in `usage.py`) ; causes. Causes are moods, states, weathers, or
# duty, journey, to_France and money: `linked.py` makes clauses of them.
CAUSES = """
eat | person | food ; hungry
order | person | dish ; hungry
prepare | person | dish ; hungry
buy | person | bread cheese ham fruit cake ; hungry
drink | person | water juice lemonade milk beer ; thirsty hot
order | person | water juice lemonade beer ; thirsty hot
buy | person | water juice lemonade ; thirsty hot
rest | person ; tired ill
sleep | person ; tired ill
stay | person | | | at_home ; tired ill rain cold snow
go | person | | | home ; tired ill hungry rain
go | person | | | hospital ; ill
go | person | | | restaurant ; hungry thirsty
go | person | | | swimming_pool beach ; hot
read | person | book newspaper story magazine ; rain snow
laugh | person ; happy
sing | person ; happy
dance | person ; happy
cry | person ; sad tired afraid
hurry | person ; duty rain cold
get up | person | | early ; duty
put on | person | warmth ; cold snow
buy | person | warmth ; cold
take off | person | warmth ; hot
swim | person | | | lake river sea ; hot
take | person | umbrella ; rain snow
buy | person | umbrella ; rain
look for | person | umbrella ; rain
take | person | bus taxi train ; tired rain duty snow
open | person | window ; hot
close | person | window door ; cold rain afraid
work | person ; money
sell | person | guitar watch camera computer ; money
learn | person | French ; to_France
learn | person | German ; to_Germany
learn | person | English ; to_England
learn | person | Italian ; to_Italy
learn | person | Spanish ; to_Spain
study | person | tongue ; journey
buy | person | ticket map suitcase ; journey
call | person | person ; sad worried afraid ill
call | person | doctor ; ill worried
write | person | letter ; sad worried happy
"""

# What one does not do, and causes.
HINDRANCES = """
work | adult ; tired ill
cook | adult ; tired ill busy
come | person | | | goal ; tired ill busy rain snow
go | person | | | goal ; tired ill busy rain snow
sing | person ; tired sad
dance | person ; tired sad ill
swim | person | | | lake river sea ; cold tired ill
run | person ; tired ill hot
sleep | person ; worried afraid hungry thirsty
eat | person | food ; ill
speak | person ; afraid tired
drive | adult | car bus ; tired ill snow
go for a walk | person ; rain snow cold tired
"""

DUTIES = """
work | person | | | office factory bank hospital
cook | person
go | person | | | station airport school university bank hospital
take | person | train bus
wait for | person | train bus
clean | person | kitchen bathroom office
repair | person | car bicycle computer
call | person | person
"""

# What one tries to do, and what one begins to do.
ATTEMPTS = """
open | person | door window box suitcase
close | person | door window suitcase
repair | person | car bicycle computer lamp watch
read | person | letter text poem newspaper
translate | person | text letter sentence poem
understand | person | question text sentence problem
learn | person | word song tongue
explain | person | problem word exercise
find | person | key wallet passport ticket
draw | person | horse cat tree house castle
sell | person | car house bicycle guitar
help | person | person
call | person | person
sleep | person | | well
swim | person | | slowly | lake sea
sing | person
speak | person | | slowly loudly
"""
BEGINNINGS = """
laugh | person | | loudly
cry | person
sing | person | | loudly
dance | person
cook | person
work | person
run | person | | quickly
read | person | book letter newspaper
write | person | letter poem story
learn | person | tongue
build | person | house boat wall
eat | person | soup cake apple
prepare | person | dish
"""

REQUESTS = """
open | person | door window box suitcase | carefully
close | person | door window book suitcase | quietly carefully
sign | person | contract letter bill
repeat | person | question sentence word | slowly
translate | person | sentence letter text
explain | person | problem word exercise
bring | person | dish drink bill newspaper
show | person | room passport ticket map photo
give | person | key ticket map pen bill
send | person | letter package bill
lend | person | umbrella pen pencil bicycle
switch on | person | lamp computer
switch off | person | lamp phone computer
speak | person | | slowly loudly quietly
drive | person | | carefully slowly
wait | person | | | here outside there
call | person | doctor
wait for | person | bus doctor
hurry | person
"""

# goal | what one goes there for: verb what, ...
ERRANDS = """
market | buy fruit, buy egg cheese fish flower, sell fruit egg cheese
bakery | buy bread cake biscuit
supermarket | buy milk rice meat butter sugar, buy carrot onion potato
library | read book newspaper magazine, look_for book
restaurant | eat dish, drink wine beer coffee
swimming pool | swim
station | wait_for train, take train
school | learn tongue, learn song
museum | look_at picture, photograph picture
cinema | see film
park | run, rest, go_for_a_walk
beach | swim, rest, run
hospital | see doctor, work
bank | work
university | study, learn tongue
garden | rest, draw tree flower, feed bird rabbit
kitchen | prepare dish, wash tableware, drink water milk
"""

# what there is | where ("near": beside a building)
EXISTING = """
bank pharmacy bakery hotel restaurant | near
market supermarket cinema museum | near
school church library park | village city
chair table lamp mirror | kitchen bedroom living_room office
cup plate glass bottle knife | kitchen
bird tree flower dog cat child | garden park
cow horse pig goat duck | farm
bicycle car box suitcase | garage cellar
tourist shop car tree | street square city
boat | lake river sea
bread milk cheese water butter | kitchen
guest customer | hotel restaurant market shop
"""

WHEREABOUTS = tuple(
    "room outdoors city country at_home here there school hospital office"
    " restaurant hotel library market station".split()
)
LYING = tuple("pocket bag umbrella toy glove shoe book letter cat".split())
SOUGHT = tuple("building stop bakery market pocket bag umbrella".split())
# What one hopes of things to come.
HOPED = (
    (("film", "book", "course", "journey"), ("interesting", "good")),
    (("soup", "meat", "fish", "cake"), ("delicious", "good")),
    (("exercise", "text", "question"), ("easy", "interesting")),
    (("concert", "party", "match"), ("good",)),
)


def _caused(table):
    for line in table.strip().splitlines():
        action, causes = line.split(";")
        yield usage(action), tuple(causes.split())


def _usages(table):
    return tuple(usage(line) for line in table.strip().splitlines())


def _errands():
    for columns, _ in rows(ERRANDS):
        goal, errands = columns
        for errand in errands.split(","):
            verb, *what = errand.split()
            verb = VERBS[verb.replace("_", " ")]
            yield (
                Usage(VERBS["go"], ("person",), where=_names(goal)),
                Usage(verb, ("person",), tuple(what)),
            )


def _names(name):
    return (name.replace(" ", "_"),)


def _existing():
    for columns, _ in rows(EXISTING):
        yield tuple(tuple(column.split()) for column in columns)


CAUSES = tuple(_caused(CAUSES))
HINDRANCES = tuple(_caused(HINDRANCES))
DUTIES = _usages(DUTIES)
ATTEMPTS = _usages(ATTEMPTS)
BEGINNINGS = _usages(BEGINNINGS)
REQUESTS = _usages(REQUESTS)
ERRANDS = tuple(_errands())
EXISTING = tuple(_existing())
TRAVELLING = usage("travel | person | | | country city")
COMING_BACK = usage("come back | person")
UNINTENDED = frozenset(("cry", "laugh", "hurry"))  # "if" suits them ill
GIVING = frozenset(("bring", "show", "give", "lend", "explain"))

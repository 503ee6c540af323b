"""Adverbs, set phrases, prepositions and first names.

Adverbials are `english | français | Deutsch`, and a fourth column of kinds.
Those of time say with which tense they go.
"""

from translation.phrasebook.grammar.lexicon.entries import (
    Preposition,
    read_adverbial,
    rows,
)
from translation.phrasebook.grammar.meaning import Name

ADVERBIALS = """
# frequency
often | souvent | oft
always | toujours | immer
sometimes | parfois | manchmal
rarely | rarement | selten
# manner
slowly | lentement | langsam
quickly | rapidement | schnell
carefully | prudemment | vorsichtig
attentively | attentivement | aufmerksam
well | bien | gut
badly | mal | schlecht
loudly | fort | laut
quietly | doucement | leise
patiently | patiemment | geduldig
early | tôt | früh
late | tard | spät
together | ensemble | zusammen
# manner transport
by train | en train | mit dem Zug
by bus | en bus | mit dem Bus
by bicycle | à vélo | mit dem Fahrrad
on foot | à pied | zu Fuß
# place
at home | à la maison | zu Hause | goalless
here | ici | hier
outside | dehors | draußen
there | là-bas | dort
in Paris | à Paris | in Paris | city
in Berlin | à Berlin | in Berlin | city
in London | à Londres | in London | city
in Vienna | à Vienne | in Wien | city
in Rome | à Rome | in Rom | city
in France | en France | in Frankreich | country
in Germany | en Allemagne | in Deutschland | country
in England | en Angleterre | in England | country
in Italy | en Italie | in Italien | country
in Spain | en Espagne | in Spanien | country
in Canada | au Canada | in Kanada | country
in Switzerland | en Suisse | in der Schweiz | country
# goal
home | à la maison | nach Hause | homeward
to Paris | à Paris | nach Paris | city
to Berlin | à Berlin | nach Berlin | city
to London | à Londres | nach London | city
to Vienna | à Vienne | nach Wien | city
to Rome | à Rome | nach Rom | city
to France | en France | nach Frankreich | country
to Germany | en Allemagne | nach Deutschland | country
to England | en Angleterre | nach England | country
to Italy | en Italie | nach Italien | country
to Spain | en Espagne | nach Spanien | country
to Canada | au Canada | nach Kanada | country
to Switzerland | en Suisse | in die Schweiz | country
# time present
every day | tous les jours | jeden Tag
every morning | tous les matins | jeden Morgen
every evening | tous les soirs | jeden Abend
every week | toutes les semaines | jede Woche
in the morning | le matin | am Morgen
in the evening | le soir | am Abend
at the weekend | le week-end | am Wochenende
in summer | en été | im Sommer
in winter | en hiver | im Winter
# time progressive
now | maintenant | jetzt
at the moment | en ce moment | im Moment
# time past
yesterday | hier | gestern
yesterday evening | hier soir | gestern Abend
last week | la semaine dernière | letzte Woche
last year | l'année dernière | letztes Jahr
last month | le mois dernier | letzten Monat
# time future
tomorrow | demain | morgen
this evening | ce soir | heute Abend
next week | la semaine prochaine | nächste Woche
next month | le mois prochain | nächsten Monat
next year | l'année prochaine | nächstes Jahr
tomorrow morning | demain matin | morgen früh
# time open
today | aujourd'hui | heute
on Monday | lundi | am Montag
on Tuesday | mardi | am Dienstag
on Friday | vendredi | am Freitag
on Saturday | samedi | am Samstag
on Sunday | dimanche | am Sonntag
# state
hungry | faim | Hunger
thirsty | soif | Durst
afraid | peur | Angst | feminine
# weather
cold | froid | kalt
hot | chaud | heiß
# wh
where | où | wo
when | quand | wann
why | pourquoi | warum
how | comment | wie
# opening
Excuse me | Excusez-moi | Entschuldigung
Yes | Oui | Ja
No | Non | Nein
"""

# The languages' prepositions; the column is the German case.
PREPOSITIONS = """
near | près de | in der Nähe | gen
behind | derrière | hinter | dat
in front of | devant | vor | dat
next to | à côté de | neben | dat
under | sous | unter | dat
on | sur | auf | dat
in | dans | in | dat
with | avec | mit | dat
without | sans | ohne | acc
for | pour | für | acc
of | de | von | dat
at the time | à | um | acc
"""

# Where one is, and where one goes: `noun | at | à | an | zu dat`.
# The last column is German "to"; English and French have "to" and "at" alike.
PLACES = """
kitchen bathroom living_room cellar garage | in | dans | in | in acc
bedroom garden forest church house castle shop | in | dans | in | in acc
office | in | dans | in | in acc
street | in | dans | auf | auf acc
square | in | sur | auf | auf acc
balcony island | on | sur | auf | auf acc
beach | at | à | an | an acc
museum theatre cinema library school | at | à | in | in acc
university station airport | at | à | an | zu dat
hospital park | in | à | in | in acc
factory pharmacy bakery bank | at | à | in | zu dat
hotel restaurant swimming_pool supermarket | at | à | in | in acc
market | at | à | auf | auf acc
city village | in | dans | in | in acc
farm | on | à | auf | auf acc
lake river sea | in | dans | in | zu dat
"""

NAMES = {
    name: Name(name, female=female)
    for female, names in (
        (True, "Anna Marie Julia Sophie Laura Emma Clara"),
        (False, "Paul Peter Daniel Martin David Simon Oskar"),
    )
    for name in names.split()
}


def _prepositions():
    for columns, _ in rows(PREPOSITIONS):
        yield columns[0], Preposition(*columns)


def _places():
    for columns, _ in rows(PLACES):
        nouns, english, french, german, goal = columns
        german_goal, goal_case = goal.split()
        at = Preposition(english, french, german, "dat")
        to = Preposition("to", french, german_goal, goal_case)
        for noun in nouns.split():
            yield noun.replace("_", " "), (at, to)


# By kind first, as "in", "cold" or "when" would stand for two things.
ADVERBIALS = {
    (kinds[0], columns[0]): read_adverbial(columns, kinds)
    for columns, kinds in rows(ADVERBIALS)
}
PREPOSITIONS = dict(_prepositions())
PLACES = dict(_places())

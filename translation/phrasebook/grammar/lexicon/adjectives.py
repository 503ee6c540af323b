"""Adjectives: `english, comparative | français m, f | Deutsch, Komparativ`.

`+` marks a French adjective that stands before its noun; a third French form
is the masculine before a vowel (bel), a third German form the attributive
stem (hoh-). The fourth column says which nouns, or kinds of noun, the
adjective suits. Sections stand in the order of English adjectives: opinion,
size, age, state, colour, origin; moods are said of people only.
"""

from translation.phrasebook.grammar.lexicon.entries import read_adjective, rows

ADJECTIVES = """
# opinion
nice, nicer | +gentil, gentille | nett, netter | person
friendly, friendlier | aimable, aimable | freundlich, freundlicher | person
famous | célèbre, célèbre | berühmt, berühmter | adult sight
clever, cleverer | intelligent, intelligente | klug, klüger | person pet
polite | poli, polie | höflich, höflicher | person
rich, richer | riche, riche | reich, reicher | adult
poor, poorer | pauvre, pauvre | arm, ärmer | adult
lazy, lazier | paresseux, paresseuse | faul, fauler | person pet
strong, stronger | fort, forte | stark, stärker | man boy farmer policeman horse
hardworking | travailleur, travailleuse | fleißig, fleißiger | adult
good, better | +bon, bonne | gut, besser
 | food drink reading event eatery lodging thought doctor teacher
bad, worse | +mauvais, mauvaise | schlecht, schlechter | reading event thought
beautiful | +beau, belle, bel | schön, schöner
 | clothes plant place sky star landmark song view
pretty, prettier | +joli, jolie | hübsch, hübscher
 | clothes present dwelling view girl
interesting | intéressant, intéressante | interessant, interessanter
 | reading event thought sight language
boring | ennuyeux, ennuyeuse | langweilig, langweiliger | reading event
important | important, importante | wichtig, wichtiger
 | paper meeting thought question letter
difficult | difficile, difficile | schwierig, schwieriger | language puzzle
easy, easier | facile, facile | einfach, einfacher | language puzzle
expensive | cher, chère | teuer, teurer, teur
 | clothes valuable vehicle furniture lodging eatery
cheap, cheaper | bon marché, bon marché | billig, billiger
 | clothes furniture valuable lodging eatery
dangerous | dangereux, dangereuse | gefährlich, gefährlicher | wild open
useful | utile, utile | nützlich, nützlicher | machine map book
comfortable | confortable, confortable | bequem, bequemer
 | chair bed sofa shoe
delicious | délicieux, délicieuse | lecker, leckerer, lecker | food
# size
big, bigger | +grand, grande | groß, größer
 | animal building region luggage furniture tree vehicle room park garden
small, smaller | +petit, petite | klein, kleiner
 | animal building region luggage furniture vehicle room young fruit garden
tall, taller | +grand, grande | groß, größer | young man woman
high, higher | +haut, haute | hoch, höher, hoh | mountain tower wall
long, longer | +long, longue | lang, länger
 | reading film meeting journey dress coat scarf bridge street
short, shorter | court, courte | kurz, kürzer
 | reading film meeting journey dress coat scarf street
heavy, heavier | lourd, lourde | schwer, schwerer | luggage
light, lighter | léger, légère | leicht, leichter | luggage
# age
old, older | +vieux, vieille, vieil | alt, älter
 | adult animal building region vehicle furniture valuable clothes
young, younger | +jeune, jeune | jung, jünger | adult animal
new, newer | +nouveau, nouvelle, nouvel | neu, neuer
 | clothes vehicle furniture machine building reading watch bag
modern | moderne, moderne | modern, moderner
 | building vehicle furniture machine
# state
clean, cleaner | propre, propre | sauber, sauberer
 | clothes room vehicle tableware vessel beach
dirty, dirtier | sale, sale | schmutzig, schmutziger
 | clothes room vehicle tableware vessel
quiet, quieter | calme, calme | ruhig, ruhiger | region room street park
empty, emptier | vide, vide | leer, leerer | vessel luggage
full, fuller | plein, pleine | voll, voller | vessel luggage
hot, hotter | chaud, chaude | heiß, heißer | tea coffee soup
warm, warmer | chaud, chaude | warm, wärmer | warmth
cold, colder | froid, froide | kalt, kälter | drink
fresh, fresher | frais, fraîche | frisch, frischer
 | fruit bread milk butter fish egg salad
sweet, sweeter | sucré, sucrée | süß, süßer | fruit treat
ripe, riper | mûr, mûre | reif, reifer | fruit
fast, faster | rapide, rapide | schnell, schneller | vehicle horse
slow, slower | lent, lente | langsam, langsamer | vehicle
# colour
red | rouge, rouge | rot, röter | coloured apple rose
green | vert, verte | grün, grüner | coloured apple pear
blue | bleu, bleue | blau, blauer | coloured
white | blanc, blanche | weiß, weißer | coloured rose horse cat
black | noir, noire | schwarz, schwärzer | coloured cat dog horse
yellow | jaune, jaune | gelb, gelber | coloured rose
brown | brun, brune | braun, brauner | shoe bag suitcase horse jacket cow
grey | gris, grise | grau, grauer | coat skirt hat cat jumper car mouse
# origin
French | français, française | französisch, französischer | native
German | allemand, allemande | deutsch, deutscher | native
English | anglais, anglaise | englisch, englischer | native
Italian | italien, italienne | italienisch, italienischer | native
Spanish | espagnol, espagnole | spanisch, spanischer | native
# mood
tired | fatigué, fatiguée | müde, müder
ill | malade, malade | krank, kränker
happy | heureux, heureuse | glücklich, glücklicher
sad | triste, triste | traurig, trauriger
angry | en colère, en colère | wütend, wütender
busy | occupé, occupée | beschäftigt, beschäftigter
worried | inquiet, inquiète | besorgt, besorgter
ready | prêt, prête | bereit, bereiter
"""

ADJECTIVES = {
    adjective.english: adjective
    for adjective in (
        read_adjective(columns, kinds) for columns, kinds in rows(ADJECTIVES)
    )
}

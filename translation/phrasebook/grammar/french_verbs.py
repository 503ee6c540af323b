"""French conjugation: three groups by rule, irregular families by table.

Persons are numbered as the columns of the tables: je, il, nous, vous, ils.
"""

from functools import cache

from translation.phrasebook.grammar.lexicon.entries import rows

JE, IL, NOUS, VOUS, ILS = range(5)

# A family is all verbs with one ending (venir, revenir), which the forms
# replace: ending | je il nous vous ils | participle | stem of the future
FAMILIES = """
être | suis est sommes êtes sont | été | ser
avoir | ai a avons avez ont | eu | aur
aller | vais va allons allez vont | allé | ir
faire | fais fait faisons faites font | fait | fer
vouloir | veux veut voulons voulez veulent | voulu | voudr
pouvoir | peux peut pouvons pouvez peuvent | pu | pourr
devoir | dois doit devons devez doivent | dû | devr
voir | vois voit voyons voyez voient | vu | verr
recevoir | reçois reçoit recevons recevez reçoivent | reçu | recevr
pleuvoir | pleus pleut pleuvons pleuvez pleuvent | plu | pleuvr
venir | viens vient venons venez viennent | venu | viendr
tenir | tiens tient tenons tenez tiennent | tenu | tiendr
partir | pars part partons partez partent | parti | partir
dormir | dors dort dormons dormez dorment | dormi | dormir
ouvrir | ouvre ouvre ouvrons ouvrez ouvrent | ouvert | ouvrir
courir | cours court courons courez courent | couru | courr
boire | bois boit buvons buvez boivent | bu | boir
croire | crois croit croyons croyez croient | cru | croir
lire | lis lit lisons lisez lisent | lu | lir
dire | dis dit disons dites disent | dit | dir
rire | ris rit rions riez rient | ri | rir
écrire | écris écrit écrivons écrivez écrivent | écrit | écrir
suivre | suis suit suivons suivez suivent | suivi | suivr
mettre | mets met mettons mettez mettent | mis | mettr
prendre | prends prend prenons prenez prennent | pris | prendr
connaître
 | connais connaît connaissons connaissez connaissent | connu | connaîtr
eindre | eins eint eignons eignez eignent | eint | eindr
uire | uis uit uisons uisez uisent | uit | uir
"""

# -er verbs whose stem changes before a mute e: appelle, achète, répète.
DOUBLED = ("appeler",)
GRAVE = ("acheter", "lever", "enlever", "promener")

PRESENT_ER = ("e", "e", "ons", "ez", "ent")
PRESENT_IR = ("is", "it", "issons", "issez", "issent")
PRESENT_RE = ("s", "", "ons", "ez", "ent")
IMPERFECT = ("ais", "ait", "ions", "iez", "aient")
FUTURE = ("ai", "a", "ons", "ez", "ont")

WITH_ETRE = ("aller", "venir", "revenir", "arriver", "partir", "rester")


def _families():
    for columns, _ in rows(FAMILIES):
        ending, forms, participle, future = columns
        yield ending, (forms.split(), participle, future)


_BY_LENGTH = sorted(_families(), key=lambda family: -len(family[0]))


@cache
def principal_parts(infinitive):
    """(present in five persons, participle, stem of the future)."""
    for ending, (forms, participle, future) in _BY_LENGTH:
        if infinitive.endswith(ending):
            stem = infinitive.removesuffix(ending)
            present = [stem + form for form in forms]
            return present, stem + participle, stem + future
    stem = infinitive[:-2]
    if infinitive.endswith("er"):
        return _first_group(infinitive)
    if infinitive.endswith("ir"):
        return [stem + form for form in PRESENT_IR], stem + "i", infinitive
    present = [stem + form for form in PRESENT_RE]
    return present, stem + "u", infinitive[:-1]


def _first_group(infinitive):
    """The first group, with mangeons, commençons, nettoie, achète, répète."""
    stem = infinitive[:-2]
    mute, future = stem, infinitive
    if infinitive in DOUBLED:
        mute = stem + stem[-1]
    elif infinitive in GRAVE:
        mute = stem[:-2] + "è" + stem[-1]
    elif stem.endswith("y"):
        mute = stem[:-1] + "i"
    elif len(stem) > 2 and stem[-2] == "é":  # not in the future: répétera
        mute = stem[:-2] + "è" + stem[-1]
    if infinitive in DOUBLED + GRAVE or stem.endswith("y"):
        future = mute + "er"
    if infinitive == "envoyer":
        future = "enverr"
    we = stem
    if stem.endswith("g"):
        we = stem + "e"
    elif stem.endswith("c"):
        we = stem[:-1] + "ç"
    stems = (mute, mute, we, stem, mute)
    present = [s + e for s, e in zip(stems, PRESENT_ER, strict=True)]
    return present, stem + "é", future


def present(infinitive, person):
    """achète, finissons."""
    return principal_parts(infinitive)[0][person]


def imperfect(infinitive, person):
    """achetait, finissions."""
    if infinitive == "être":
        return "ét" + IMPERFECT[person]
    stem = present(infinitive, NOUS).removesuffix("ons")
    return stem + IMPERFECT[person]


def future(infinitive, person):
    """achètera, finirons."""
    return principal_parts(infinitive)[2] + FUTURE[person]


def conditional(infinitive, person):
    """achèterait, finirions."""
    return principal_parts(infinitive)[2] + IMPERFECT[person]


def participle(infinitive):
    """acheté, fini."""
    return principal_parts(infinitive)[1]

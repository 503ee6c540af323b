"""Numbers: from two to sixty-nine, but those that end in one, and a hundred.

What ends in one would agree in gender (vingt et une).
"""

from translation.phrasebook.grammar.lexicon.entries import rows

TABLE = """
2 | two | deux | zwei
3 | three | trois | drei
4 | four | quatre | vier
5 | five | cinq | fünf
6 | six | six | sechs
7 | seven | sept | sieben
8 | eight | huit | acht
9 | nine | neuf | neun
10 | ten | dix | zehn
11 | eleven | onze | elf
12 | twelve | douze | zwölf
13 | thirteen | treize | dreizehn
14 | fourteen | quatorze | vierzehn
15 | fifteen | quinze | fünfzehn
16 | sixteen | seize | sechzehn
17 | seventeen | dix-sept | siebzehn
18 | eighteen | dix-huit | achtzehn
19 | nineteen | dix-neuf | neunzehn
20 | twenty | vingt | zwanzig
30 | thirty | trente | dreißig
40 | forty | quarante | vierzig
50 | fifty | cinquante | fünfzig
60 | sixty | soixante | sechzig
100 | one hundred | cent | hundert
"""


def _numerals():
    listed = {int(columns[0]): tuple(columns[1:]) for columns, _ in rows(TABLE)}
    yield from listed.items()
    for tens in (20, 30, 40, 50, 60):
        english, french, german = listed[tens]
        for unit in range(2, 10):
            one = listed[unit]
            yield (
                tens + unit,
                (
                    f"{english}-{one[0]}",
                    f"{french}-{one[1]}",
                    f"{one[2]}und{german}",
                ),
            )


# number: (English, French, German)
NUMERALS = dict(_numerals())

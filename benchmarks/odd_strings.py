"""Strings of all kinds that a translation service meets."""

import random

SENTENCES = (
    "A dog runs.",
    "Two men are playing chess in the park.",
    "Where is the station?",
    "A young girl in a blue dress is climbing the stairs of a wooden house.",
    "Several people stand in front of a building, waiting for the bus.",
    "The woman who sold me the bread yesterday has not come back.",
    "He laughs.",
    "A man with a beard holds a microphone while a crowd listens to him.",
)

OTHER_LANGUAGES = (
    "Где находится вокзал?",
    "犬が公園で走っている。",
    "الكلب يجري في الحديقة.",
    "कुत्ता पार्क में दौड़ रहा है।",
    "Ο σκύλος τρέχει στο πάρκο.",
    "강아지가 뛴다.",
    "הכלב רץ בפארק.",
    "สุนัขวิ่งในสวนสาธารณะ",
    "Der Hund läuft schon.",
    "Le chien court.",
)

MARKS = (
    "\ufeff",  # the byte order mark
    "\u202e",  # right to left from here
    "e\u0301\u0301",  # combining accents
    "\u2581",  # what SentencePiece writes for a space
    "\ufdd0",  # and what our tokenizer writes for that
    "\x00",
    "\uffff",
)

MARKUP = (
    "<s> </s> <unk> <pad> <0x0A> <2fr> <2de>",
    '{"inputs": ["\\u0000"]}',
    "'; DROP TABLE x;",
    "%s%n%d {0} $(reboot)",
    "../../etc/passwd",
    "<b>A dog</b> &amp; a cat<br/>",
    "https://example.com/?q=a%20dog#1",
    "a" * 300,
    "! ? . , ; : - ( ) [ ]",
)


def odd_strings(count, seed=0):
    """Strings that a translator was not trained on.

    Args:
        count: int.
        seed: int. Equal seeds give equal strings.

    Returns:
        List of bytes. Some are not UTF-8.
    """
    draw = random.Random(seed)
    kinds = (
        (1, lambda: ""),
        (2, lambda: "".join(draw.choices(" \t\r\n\v\f", k=draw.randint(1, 9)))),
        (1, lambda: _long(draw)),
        (6, lambda: _characters(draw, 0x00, 0x1F)),
        (3, lambda: _characters(draw, 0x7F, 0x9F)),
        (8, lambda: _characters(draw, 0x1F300, 0x1FAFF)),
        (4, lambda: "👩\u200d👩\u200d👧 🇩🇪 👍🏽 " + draw.choice(SENTENCES)),
        (8, lambda: draw.choice(OTHER_LANGUAGES)),
        (4, lambda: _characters(draw, 0x4E00, 0x9FFF)),
        (4, lambda: _characters(draw, 0x20, 0xD7FF)),
        (3, lambda: _characters(draw, 0x10000, 0x10FFFF)),
        (8, lambda: _bytes(draw)),
        (6, lambda: _broken(draw)),
        (4, lambda: draw.choice(MARKS) + draw.choice(SENTENCES)),
        (4, lambda: draw.choice(MARKUP)),
        (4, lambda: str(draw.random() * 10 ** draw.randint(-9, 99))),
        (6, lambda: draw.choice(SENTENCES).upper().replace(" ", "")),
        (6, lambda: " ".join(draw.choice(SENTENCES).split()[::-1])),
        (12, lambda: draw.choice(SENTENCES)),
    )
    weights, makers = zip(*kinds, strict=True)
    made = (make() for make in draw.choices(makers, weights, k=count))
    return [x if isinstance(x, bytes) else x.encode() for x in made]


def _characters(draw, low, high):
    codes = (draw.randint(low, high) for _ in range(draw.randint(1, 30)))
    return "".join(chr(c) for c in codes if not 0xD800 <= c <= 0xDFFF)


def _long(draw):
    """10,000 characters, with and without spaces."""
    piece = draw.choice(
        ["x", "dog ", "犬", "😀", "\x07", draw.choice(SENTENCES)]
    )
    return (piece * 10_000)[:10_000]


def _bytes(draw):
    return bytes(draw.randrange(256) for _ in range(draw.randint(1, 60)))


def _broken(draw):
    """UTF-8 that is cut, or has surrogates or forms that are too long."""
    broken = (b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80", b"\xe2\x82", b"\x80")
    text = draw.choice(SENTENCES).encode()
    place = draw.randint(0, len(text))
    return text[:place] + draw.choice(broken) + text[place:]

"""Blank texts: those with nothing to be seen, by Unicode.

Made up of separators (Z), controls (Cc), format characters (Cf) and whatever
else Unicode wants ignored in display (Default_Ignorable_Code_Point), such as a
variation selector, and of the blank Braille pattern. So a line of no-break
spaces is blank, or one of a byte order mark, and there is nothing in it to be
translated.

The ranges stand here, and not in a rule about categories, so that Python and
the graph, which have Unicode of different versions, agree.
"""

import re

import tensorflow as tf

# First and last code point, of Unicode 16.
_RANGES = (
    (0x0000, 0x0020), (0x007F, 0x00A0), (0x00AD, 0x00AD), (0x034F, 0x034F),
    (0x0600, 0x0605), (0x061C, 0x061C), (0x06DD, 0x06DD), (0x070F, 0x070F),
    (0x0890, 0x0891), (0x08E2, 0x08E2), (0x115F, 0x1160), (0x1680, 0x1680),
    (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2000, 0x200F), (0x2028, 0x202F),
    (0x205F, 0x206F), (0x2800, 0x2800), (0x3000, 0x3000), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB),
    (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_IN_PYTHON = "".join(r"\U{:08x}-\U{:08x}".format(*r) for r in _RANGES)
_IN_GRAPH = "".join(r"\x{{{:x}}}-\x{{{:x}}}".format(*r) for r in _RANGES)
_VISIBLE = re.compile(f"[^{_IN_PYTHON}]")


def is_blank(text):
    """Whether there is nothing to be seen of a text.

    Args:
        text: str.

    Returns:
        bool.

    Example:

    >>> is_blank("\\u3000\\ufeff "), is_blank(""), is_blank(" . ")
    (True, True, False)
    """
    return _VISIBLE.search(text) is None


def are_blank(strings):
    """The same of each string of a tensor, in the graph or outside.

    Args:
        strings: string tensor, in UTF-8. Bytes that are not UTF-8 are seen.

    Returns:
        bool tensor of the same shape.

    Example:

    >>> are_blank(tf.constant(["\\u00a0", "a"])).numpy().tolist()
    [True, False]
    """
    return tf.strings.regex_full_match(strings, f"[{_IN_GRAPH}]*")

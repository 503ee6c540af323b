"""Unicode's normal forms, in Python and in the graph.

An accented letter can be written as one code point or as a letter and a mark
(NFC and NFD); they look the same, and are other subwords. NFKC also replaces
what only looks another way, such as a full-width letter or a ligature.
"""

import unicodedata

import tensorflow as tf
import tensorflow_text as tf_text

FORMS = ("NFC", "NFKC", "none")


def normalized(text, form):
    """A text in a normal form.

    Args:
        text: str.
        form: One of `FORMS`; `none` leaves it as it is.

    Returns:
        str.

    Example:

    >>> len(normalized("e\\u0301", "NFC")), normalized("\\ufb01", "NFKC")
    (1, 'fi')
    """
    return text if form == "none" else unicodedata.normalize(form, text)


def normalized_strings(strings, form):
    """The same of each string of a tensor, in the graph or outside.

    Args:
        strings: string tensor, in UTF-8. Bytes that are not UTF-8 become
            U+FFFD unless `form` is `none`.
        form: One of `FORMS`.

    Returns:
        string tensor of the same shape.

    Example:

    >>> normalized_strings(tf.constant(["\\uff21"]), "NFKC").numpy().tolist()
    [b'A']
    """
    if form == "none":
        return strings
    whole = tf.strings.unicode_transcode(strings, "UTF-8", "UTF-8")
    return tf_text.normalize_utf8(whole, form)

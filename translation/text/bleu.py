"""BLEU and chrF, measured one way everywhere: sacreBLEU on detokenised text."""

from typing import NamedTuple

from sacrebleu.metrics import BLEU, CHRF

# As sacreBLEU names them; `auto` asks for that of the target language.
TOKENIZERS = (
    *("auto", "13a", "intl", "char", "zh", "ja-mecab", "ko-mecab", "none"),
    *("flores101", "flores200", "spm", "spBLEU-1K"),
)
# What `sacrebleu -l` takes, in place of 13a.
_OF_LANGUAGE = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}


class BleuScore(NamedTuple):
    """A BLEU score and all that is needed to repeat it."""

    # From 0 to 100.
    score: float
    # How it was measured, in sacreBLEU's own words.
    signature: str
    # Fraction of matching n-grams in percent, for n from 1 to 4.
    precisions: tuple
    # 1 when the hypotheses are as long as the references or longer.
    brevity_penalty: float
    # Words of all hypotheses, and of the references nearest in length.
    hypothesis_length: int
    reference_length: int

    def __str__(self):
        return f"BLEU {self.score:.2f} ({self.signature})"


class ChrfScore(NamedTuple):
    """A chrF score and how it was measured."""

    # From 0 to 100.
    score: float
    # In sacreBLEU's own words.
    signature: str


def corpus_bleu(hypotheses, references, lowercase=False, tokenizer="13a"):
    """BLEU of translations.

    sacreBLEU's defaults: exponential smoothing, and its 13a tokenizer unless
    another one is given.

    Args:
        hypotheses: list of str. Translations, detokenised.
        references: list of str, as many; or a list of such lists, for several
            references.
        lowercase: bool. Whether case is ignored (`-lc`).
        tokenizer: str, one of `TOKENIZERS` but `auto`: see `choose_tokenizer`.

    Returns:
        A `BleuScore`.

    Raises:
        ValueError: if the lists are empty or differ in length.

    Example:

    >>> bleu = corpus_bleu(["The cat sat down."], ["the cat sat down."])
    >>> f"{bleu.score:.1f}"
    '66.9'
    >>> bleu.signature.split("|version:")[0]
    'nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp'
    """
    hypotheses, references = _checked(hypotheses, references)
    # `force` only silences a warning about text that looks tokenised, as
    # an untrained model's does.
    metric = BLEU(lowercase=lowercase, tokenize=tokenizer, force=True)
    result = metric.corpus_score(hypotheses, references)
    return BleuScore(
        score=result.score,
        signature=metric.get_signature().format(),
        precisions=tuple(result.precisions),
        brevity_penalty=result.bp,
        hypothesis_length=result.sys_len,
        reference_length=result.ref_len,
    )


def corpus_chrf(hypotheses, references):
    """chrF of translations: n-grams of characters, whatever the language.

    sacreBLEU's defaults: chrF2, n up to 6, no words.

    Args:
        hypotheses, references: As for `corpus_bleu`.

    Returns:
        A `ChrfScore`.

    Raises:
        ValueError: if the lists are empty or differ in length.

    Example:

    >>> chrf = corpus_chrf(["The cat."], ["The cat."])
    >>> f"{chrf.score:.1f}", chrf.signature.split("|version:")[0]
    ('100.0', 'nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no')
    """
    hypotheses, references = _checked(hypotheses, references)
    metric = CHRF()
    score = metric.corpus_score(hypotheses, references).score
    return ChrfScore(score, metric.get_signature().format())


def choose_tokenizer(language, wanted="auto"):
    """The tokenizer to measure BLEU with in a language.

    Args:
        language: str. Code of two letters, such as `ja`.
        wanted: str, one of `TOKENIZERS`. `auto` takes what `sacrebleu -l`
            does: `zh`, `ja-mecab`, `ko-mecab`, and 13a for all others; or
            `char` where it lacks a package.

    Returns:
        `(name, note)`, str. The note says which package is missing, or it is
        empty.

    Raises:
        ValueError: if another one than `auto` cannot be had.

    Example:

    >>> choose_tokenizer("zh"), choose_tokenizer("fr")
    (('zh', ''), ('13a', ''))
    """
    if wanted not in TOKENIZERS:
        raise ValueError(
            f"`bleu_tokenizer` must be one of {', '.join(TOKENIZERS)}. "
            f"Received: {wanted!r}"
        )
    name = _OF_LANGUAGE.get(language, "13a") if wanted == "auto" else wanted
    try:
        BLEU(tokenize=name)
    except (RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        if wanted != "auto":
            raise ValueError(
                f"BLEU cannot be measured with bleu_tokenizer={name}: {reason}"
            ) from error
        extra = name.partition("-")[0]
        return "char", (
            f"BLEU is that of characters (tok:char), since sacreBLEU's {name} "
            f"lacks a package: pip install 'moe-keras[{extra}]'."
        )
    return name, ""


def _checked(hypotheses, references):
    """Lists of the hypotheses and of one or several references."""
    hypotheses, references = list(hypotheses), list(references)
    if not references or isinstance(references[0], str):
        references = [references]
    references = [list(reference) for reference in references]
    lengths = [len(reference) for reference in references]
    if not hypotheses or {*lengths} != {len(hypotheses)}:
        raise ValueError(
            "`hypotheses` and `references` must have the same number of "
            "sentences, at least one. Received: "
            f"{len(hypotheses)} and {', '.join(map(str, lengths))}"
        )
    return hypotheses, references

"""BLEU, measured one way everywhere: sacreBLEU on detokenised text."""

from typing import NamedTuple

from sacrebleu.metrics import BLEU


class BleuScore(NamedTuple):
    """A BLEU score and all that is needed to repeat it."""

    # From 0 to 100.
    score: float
    # How it was measured, in sacreBLEU's own words.
    signature: str
    # Share of matching n-grams in percent, for n from 1 to 4.
    precisions: tuple
    # 1 when the hypotheses are as long as the references or longer.
    brevity_penalty: float
    # Words of all hypotheses, and of all references.
    hypothesis_length: int
    reference_length: int

    def __str__(self):
        return f"BLEU {self.score:.2f} ({self.signature})"


def corpus_bleu(hypotheses, references, lowercase=False):
    """BLEU of translations against one reference each.

    sacreBLEU's defaults: its own 13a tokenisation, exponential smoothing.

    Args:
        hypotheses: list of str. Translations, detokenised.
        references: list of str, as many.
        lowercase: bool. Whether case is ignored (`-lc`).

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
    hypotheses, references = list(hypotheses), list(references)
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(
            "`hypotheses` and `references` must have the same number of "
            "sentences, at least one. "
            f"Received: {len(hypotheses)} and {len(references)}"
        )
    # `force` only silences a warning about text that looks tokenised, as
    # an untrained model's does.
    metric = BLEU(lowercase=lowercase, force=True)
    result = metric.corpus_score(hypotheses, [references])
    return BleuScore(
        score=result.score,
        signature=metric.get_signature().format(),
        precisions=tuple(result.precisions),
        brevity_penalty=result.bp,
        hypothesis_length=result.sys_len,
        reference_length=result.ref_len,
    )

"""Evaluates a translator: on the dev set while it trains, and at the end."""

import dataclasses
import math
import time

import tensorflow as tf

from trainers.engine.losses import masked_sum, smoothed_cross_entropy
from trainers.engine.routing_table import reset_routing, routing_figures
from trainers.translator.progress import TranslationProgress
from translation.search.translate import MAX_SOURCE_LENGTH, TextTranslator
from translation.text.bleu import choose_tokenizer, corpus_bleu, corpus_chrf
from translation.text.input_pipeline import evaluation_batches
from translation.text.languages import language_of, parse_pair
from translation.text.long_texts import longer_than
from translation.text.normalization import normalized
from translation.text.special_ids import PAD_ID

EXAMPLES = 5  # translations shown at the end
# Scores of translations, and where a measurement has their signatures.
_NAMES = {"bleu": "BLEU", "chrf": "chrF"}
_SIGNATURES = {"bleu": "signature", "chrf": "signature_chrf"}


class DevEvaluation:
    """Evaluates a model on the dev corpus: perplexity, BLEU and chrF.

    Args:
        config: `NmtConfig`.
        model: `Translator`.
        tokenizer: `Tokenizer`.
        corpus: Parallel corpus.
    """

    def __init__(self, config, model, tokenizer, corpus):
        self._model = model
        search = config.search
        if config.dev_search == "greedy":
            search = search.searching(beam_width=1, num_translations=1)
        self._translate = TextTranslator(model, tokenizer, search)
        self._batches = evaluation_batches(corpus, tokenizer, config.batches)
        pairs = _first(corpus.pairs(), config.dev_sentences)
        self._pairs = [(x, _canonical(y, config)) for x, y in pairs]
        self._score = config.dev_score if self._pairs else "perplexity"
        self._scores_of = TranslationScores(config)
        self._loss = tf.function(
            self._loss_eagerly,
            input_signature=[self._batches.element_spec],
            autograph=False,
        )

    def about_score(self):
        """Makes the line that says what the `score` of an evaluation is."""
        if self._score == "perplexity":
            return "The score on the dev corpus is minus the perplexity."
        chosen = self._scores_of(["any"], [["any"]])
        note = f" {self._scores_of.note}" if self._score == "bleu" else ""
        return (
            f"The score on the dev corpus is {_NAMES[self._score]} of "
            f"{len(self._pairs)} sentences, "
            f"{chosen[_SIGNATURES[self._score]]}.{note}".rstrip()
        )

    def __call__(self, check=lambda: None):
        """Evaluates the model as it is.

        Args:
            check: Function that is called after each batch; it may raise.

        Returns:
            dict of floats.
        """
        total = tokens = 0.0
        for batch in self._batches:
            check()
            loss, count = self._loss(batch)
            total, tokens = total + float(loss), tokens + float(count)
        perplexity = perplexity_of(total / max(tokens, 1.0))
        metrics = {"perplexity": perplexity}
        if self._pairs:
            sources, references = zip(*self._pairs, strict=True)
            translations = self._translate(sources, lambda *_: check())
            hypotheses = [found.text for found in translations]
            found = self._scores_of(hypotheses, [references])
            metrics |= {name: found[name] for name in _NAMES}
        score = metrics[self._score]
        is_error = self._score == "perplexity"
        return {"score": -score if is_error else score, **metrics}

    def _loss_eagerly(self, batch):
        logits = self._model(batch, training=False)
        targets = batch["target_out"]
        loss = smoothed_cross_entropy(targets, logits)
        return masked_sum(loss, tf.not_equal(targets, PAD_ID))


def perplexity_of(nll):
    """Computes the perplexity of a negative log likelihood; e^50 at most."""
    return math.exp(min(nll, 50.0))


def _first(items, count):
    for _, item in zip(range(count), items, strict=False):
        yield item


class TranslationScores:
    """Computes BLEU and chrF as a configuration asks for.

    Args:
        config: `NmtConfig`.

    Attributes:
        note: str. A remark on the tokenizer of BLEU, or nothing.

    Example:

    >>> from trainers.translator.presets import preset
    >>> found = TranslationScores(preset("phrasebook"))(["Oui."], [["Oui."]])
    >>> f"{found['chrf']:.1f}"
    '100.0'
    """

    def __init__(self, config):
        language = language_of(parse_pair(config.pair).target)
        self._tokenizer, self.note = choose_tokenizer(
            language, config.bleu_tokenizer
        )

    def __call__(self, hypotheses, references):
        """Computes scores of translations, and their signatures.

        Args:
            hypotheses: List of str.
            references: List of lists of str, as many each.

        Returns:
            dict, as `results.json` has it.
        """
        bleu = corpus_bleu(hypotheses, references, tokenizer=self._tokenizer)
        uncased = corpus_bleu(
            hypotheses, references, lowercase=True, tokenizer=self._tokenizer
        )
        chrf = corpus_chrf(hypotheses, references)
        return {
            "bleu": bleu.score,
            "signature": bleu.signature,
            "bleu_lowercased": uncased.score,
            "signature_lowercased": uncased.signature,
            "chrf": chrf.score,
            "signature_chrf": chrf.signature,
        }


def _tell_long(sources, tokenizer, log):
    long = longer_than(MAX_SOURCE_LENGTH, sources, tokenizer)
    if long:
        first, size = next(iter(long.items()))
        log(
            f"{len(long):,} of them have over {MAX_SOURCE_LENGTH} subwords, "
            f"such as number {first + 1:,} with {size:,}: only their "
            "beginning is translated."
        )


def _canonical(text, config):
    """Brings a reference into the normal form of translations."""
    form = "none" if config.normalization == "none" else "NFC"
    return normalized(text, form)


def evaluate_model(config, model, tokenizer, test, log, more=(), keep=None):
    """Evaluates a trained model on the test corpus.

    Args:
        config: `NmtConfig`.
        model: `Translator`.
        tokenizer: `Tokenizer`.
        test: Parallel corpus.
        log: Function of one line of text.
        more: List of lists of str, further references of the corpus.
        keep: Function that writes texts, a dict of lists of str: sources
            `src`, translations `hyp`, references `ref`, `ref1` and so on. It
            returns the paths.

    Returns:
        dict, as `results.json` has it.
    """
    pairs = list(test.pairs())
    log(f"Translating {len(pairs)} test sentences ...")
    _tell_long([source for source, _ in pairs], tokenizer, log)
    progress = TranslationProgress(log)
    sources, first = zip(*pairs, strict=True)
    references = [
        [_canonical(text, config) for text in texts] for texts in (first, *more)
    ]
    translate_all = TextTranslator(model, tokenizer, config.search)
    translate_all(sources[:1])  # builds the graph
    start = time.monotonic()
    hypotheses = [found.text for found in translate_all(sources, progress)]
    seconds = time.monotonic() - start
    if keep:
        endings = ("ref", *(f"ref{i + 1}" for i in range(len(more))))
        texts = dict(zip(endings, references, strict=True))
        try:
            written = keep({"src": sources, "hyp": hypotheses, **texts})
            log(f"Wrote {', '.join(map(str, written))}")
        except OSError as error:  # the figures matter more
            log(f"The translations could not be written: {error}")
    reset_routing(model)
    no_bleu = dataclasses.replace(
        config, dev_sentences=0, dev_score="perplexity"
    )
    perplexity = DevEvaluation(no_bleu, model, tokenizer, test)()["perplexity"]
    scores_of = TranslationScores(config)
    if scores_of.note:
        log(scores_of.note)
    return {
        "perplexity": perplexity,
        "sentences_per_second": len(pairs) / seconds,
        **scores_of(hypotheses, references),
        "examples": [
            {"source": source, "translation": text, "reference": reference}
            for (source, reference), text in zip(
                pairs[:EXAMPLES], hypotheses, strict=False
            )
        ],
        "routing": routing_figures(model),
    }

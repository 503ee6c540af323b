"""Figures of a translator: on the dev set as it is trained, and at the end."""

import dataclasses
import math
import time

import tensorflow as tf

from moe_keras import monitoring
from trainers.engine.losses import masked_sum, smoothed_cross_entropy
from trainers.translator import report
from trainers.translator.progress import TranslationProgress
from translation.search.translate import TextTranslator
from translation.text.bleu import corpus_bleu
from translation.text.input_pipeline import evaluation_batches
from translation.text.special_ids import PAD_ID

EXAMPLES = 5  # translations shown at the end


class DevEvaluation:
    """Perplexity and BLEU of a model on a corpus, for the loop to call.

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
            search = dataclasses.replace(
                search, beam_width=1, num_translations=1
            )
        self._translate = TextTranslator(model, tokenizer, search)
        self._batches = evaluation_batches(corpus, tokenizer, config.batches)
        self._pairs = list(_first(corpus.pairs(), config.dev_sentences))
        self._loss = tf.function(
            self._loss_eagerly,
            input_signature=[self._batches.element_spec],
            autograph=False,
        )

    def about_score(self):
        """A line that says what the `score` of an evaluation is."""
        if not self._pairs:
            return "The score on the dev corpus is minus the perplexity."
        signature = corpus_bleu(["any"], ["any"]).signature
        return (
            f"The score on the dev corpus is BLEU of {len(self._pairs)} "
            f"sentences, {signature}."
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
        metrics = {"score": -perplexity, "perplexity": perplexity}
        if self._pairs:
            sources, references = zip(*self._pairs, strict=True)
            translations = self._translate(sources, lambda *_: check())
            hypotheses = [found.text for found in translations]
            bleu = corpus_bleu(hypotheses, references)
            metrics |= {"score": bleu.score, "bleu": bleu.score}
        return metrics

    def _loss_eagerly(self, batch):
        logits = self._model(batch, training=False)
        targets = batch["target_out"]
        loss = smoothed_cross_entropy(targets, logits)
        return masked_sum(loss, tf.not_equal(targets, PAD_ID))


def perplexity_of(nll):
    """Perplexity of a mean negative log likelihood, which may be huge."""
    return math.exp(min(nll, 50.0))


def _first(items, count):
    for _, item in zip(range(count), items, strict=False):
        yield item


def final_figures(config, model, tokenizer, test, log):
    """Everything that is reported of a trained model."""
    pairs = list(test.pairs())
    log(f"Translating {len(pairs)} test sentences ...")
    progress = TranslationProgress(log)
    sources, references = zip(*pairs, strict=True)
    translate_all = TextTranslator(model, tokenizer, config.search)
    translate_all(sources[:1])  # builds the graph
    start = time.monotonic()
    hypotheses = [found.text for found in translate_all(sources, progress)]
    seconds = time.monotonic() - start
    for layer in monitoring.routing_layers(model):
        layer.reset_routing_statistics()
    no_bleu = dataclasses.replace(config, dev_sentences=0)
    perplexity = DevEvaluation(no_bleu, model, tokenizer, test)()["perplexity"]
    cased = corpus_bleu(hypotheses, references)
    uncased = corpus_bleu(hypotheses, references, lowercase=True)
    return {
        "perplexity": perplexity,
        "sentences_per_second": len(pairs) / seconds,
        "bleu": cased.score,
        "signature": cased.signature,
        "bleu_lowercased": uncased.score,
        "signature_lowercased": uncased.signature,
        "examples": [
            {"source": source, "translation": text, "reference": reference}
            for (source, reference), text in zip(
                pairs[:EXAMPLES], hypotheses, strict=False
            )
        ],
        "routing": {
            layer.name: report.routing_figures(layer)
            for layer in monitoring.routing_layers(model)
        },
    }

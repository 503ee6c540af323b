"""Evaluates a translator: on the dev set while it trains, and at the end."""

import dataclasses
import itertools
import math
import time
from typing import Any

import tensorflow as tf

from trainers.engine.losses import masked_sum, smoothed_cross_entropy
from trainers.engine.routing_table import reset_routing, routing_figures
from trainers.translator.dev_mean import parse_dev_mean
from trainers.translator.progress import TranslationProgress
from translation.search.translate import MAX_SOURCE_LENGTH, TextTranslator
from translation.text.bleu import choose_tokenizer, corpus_bleu, corpus_chrf
from translation.text.directions import parse_directions
from translation.text.input_pipeline import evaluation_batches
from translation.text.languages import language_of
from translation.text.long_texts import longer_than
from translation.text.normalization import normalized
from translation.text.special_ids import PAD_ID

EXAMPLES = 5  # translations shown at the end
# Scores of translations, and where a measurement has their signatures.
_NAMES = {"bleu": "BLEU", "chrf": "chrF"}
_SIGNATURES = {"bleu": "signature", "chrf": "signature_chrf"}


class DevEvaluation:
    """Evaluates a model on the dev corpus: perplexity, BLEU and chrF.

    A model of several directions has them of each direction, and their means.

    Args:
        config: `NmtConfig`.
        model: `Translator`.
        tokenizer: `Tokenizer`.
        corpus: Parallel corpus; of a model of several target languages a
            `MultilingualCorpus`.
    """

    def __init__(self, config, model, tokenizer, corpus):
        self._model = model
        search = config.search
        if config.dev_search == "greedy":
            search = search.searching(beam_width=1, num_translations=1)
        self._translate = TextTranslator(model, tokenizer, search)
        self._batches = evaluation_batches(corpus, tokenizer, config.batches)
        self._texts = [
            DirectionTexts.read(direction, part, config, config.dev_sentences)
            for direction, part in by_direction(corpus, config)
        ]
        self._has_texts = all(texts.sources for texts in self._texts)
        self._score = config.dev_score if self._has_texts else "perplexity"
        self._mean = parse_dev_mean(config.dev_mean, config.pair)
        self._about_mean = config.dev_mean
        self._has_targets = bool(tokenizer.targets)
        self._loss = tf.function(
            self._loss_eagerly,
            input_signature=[self._batches.element_spec],
            autograph=False,
        )

    def about_score(self):
        """Makes the line that says what the `score` of an evaluation is."""
        of = ""
        if len(self._texts) > 1:
            kind = self._about_mean
            kind = f"the {kind}" if "=" not in kind else "the weighted mean"
            of = f" ({kind} of {len(self._texts)} directions)"
        if self._score == "perplexity":
            return f"The score on the dev corpus is minus the perplexity{of}."
        chosen = self._texts[0].scores_of(["any"], [["any"]])
        notes = dict.fromkeys(texts.scores_of.note for texts in self._texts)
        note = f" {' '.join(notes)}" if self._score == "bleu" else ""
        sentences = sum(len(texts.sources) for texts in self._texts)
        return (
            f"The score on the dev corpus is {_NAMES[self._score]}{of} of "
            f"{sentences} sentences, "
            f"{chosen[_SIGNATURES[self._score]]}.{note}".rstrip()
        )

    def __call__(self, check=lambda: None):
        """Evaluates the model as it is.

        Args:
            check: Function that is called after each batch; it may raise.

        Returns:
            dict of floats. Of several directions `perplexity` is that of all
            tokens, `bleu` and `chrf` are means, and each direction has its
            own, as `bleu/en-fr`.
        """
        found = self.of_directions(check)
        everything = found.pop(None)
        metrics = {"perplexity": everything["perplexity"]}
        if self._has_texts:
            for name in _NAMES:
                values = [figures[name] for figures in found.values()]
                metrics[name] = sum(values) / len(values)
        is_error = self._score == "perplexity"
        score = self._mean(
            {
                direction: -figures["perplexity"]
                if is_error
                else figures[self._score]
                for direction, figures in found.items()
            }
        )
        if len(found) > 1:
            metrics |= {
                f"{name}/{direction}": figures[name]
                for name in metrics
                for direction, figures in found.items()
            }
        return {"score": score, **metrics}

    def of_directions(self, check=lambda: None):
        """Evaluates each direction.

        Returns:
            dict of dicts of figures, by direction as a str; and by None the
            perplexity of all together.
        """
        total_D = tokens_D = 0.0
        for batch in self._batches:
            check()
            loss_D, count_D = self._loss(batch)
            total_D = total_D + loss_D.numpy().astype("float64")
            tokens_D = tokens_D + count_D.numpy().astype("float64")

        def figures_of(total, tokens):
            return {"perplexity": perplexity_of(total / max(tokens, 1.0))}

        found = {
            texts.name: figures_of(total, tokens)
            for texts, total, tokens in zip(
                self._texts, total_D, tokens_D, strict=True
            )
        }
        if self._has_texts:
            self._add_scores(found, check)
        return {**found, None: figures_of(total_D.sum(), tokens_D.sum())}

    def _add_scores(self, found, check):
        """Adds BLEU and chrF of translations to the figures."""
        sources = [x for texts in self._texts for x in texts.sources]
        asked = {}
        if self._has_targets:
            asked["targets"] = [
                texts.target for texts in self._texts for _ in texts.sources
            ]
        translations = self._translate(sources, lambda *_: check(), **asked)
        hypotheses = iter([found.text for found in translations])
        for texts in self._texts:
            own = list(itertools.islice(hypotheses, len(texts.sources)))
            scores = texts.scores_of(own, [texts.references])
            found[texts.name] |= {name: scores[name] for name in _NAMES}

    def _loss_eagerly(self, batch):
        """Sums of the loss and tokens of each direction, `(D,)` both."""
        logits = self._model(batch, training=False)
        targets = batch["target_out"]
        loss = smoothed_cross_entropy(targets, logits)
        mask = tf.not_equal(targets, PAD_ID)
        if "direction" not in batch:
            total, tokens = masked_sum(loss, mask)
            return total[tf.newaxis], tokens[tf.newaxis]
        weights = tf.cast(mask, loss.dtype)
        return tuple(
            tf.math.unsorted_segment_sum(
                tf.reduce_sum(values, axis=1),
                batch["direction"],  # -1 for rows that fill up a batch
                len(self._texts),
            )
            for values in (loss * weights, weights)
        )


def by_direction(corpus, config):
    """List of `(direction, Corpus)` of a corpus of one or several."""
    if hasattr(corpus, "directions"):
        return corpus.by_direction()
    return [(parse_directions(config.pair)[0], corpus)]


@dataclasses.dataclass(frozen=True)
class DirectionTexts:
    """The texts of a direction that a model is evaluated on.

    Attributes:
        name: str, such as `en-fr`.
        target: str, the tag of the target language.
        sources: List of str.
        targets: List of str, as the corpus has them.
        references: The same in the normal form of translations.
        scores_of: `TranslationScores` of the target language.
    """

    name: str
    target: str
    sources: list
    targets: list
    references: list
    scores_of: Any

    @classmethod
    def read(cls, direction, corpus, config, count=None):
        """Reads the first texts of a corpus; None reads all."""
        pairs = list(itertools.islice(corpus.pairs(), count))
        return cls(
            str(direction),
            direction.target,
            [source for source, _ in pairs],
            [target for _, target in pairs],
            [_canonical(target, config) for _, target in pairs],
            TranslationScores(config, direction.target),
        )


def perplexity_of(nll):
    """Computes the perplexity of a negative log likelihood; e^50 at most."""
    return math.exp(min(nll, 50.0))


class TranslationScores:
    """Computes BLEU and chrF as a configuration asks for.

    Args:
        config: `NmtConfig`.
        target: str, the tag of the target language; None for that of a
            configuration that has one.

    Attributes:
        note: str. A remark on the tokenizer of BLEU, or nothing.

    Example:

    >>> from trainers.translator.presets import preset
    >>> found = TranslationScores(preset("phrasebook"))(["Oui."], [["Oui."]])
    >>> f"{found['chrf']:.1f}"
    '100.0'
    """

    def __init__(self, config, target=None):
        target = target or parse_directions(config.pair).targets[0]
        self._tokenizer, self.note = choose_tokenizer(
            language_of(target), config.bleu_tokenizer
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


def _canonical(text, config):
    """Brings a reference into the normal form of translations."""
    form = "none" if config.normalization == "none" else "NFC"
    return normalized(text, form)


def evaluate_model(config, model, tokenizer, test, log, more=None, keep=None):
    """Evaluates a trained model on the test corpus.

    Args:
        config: `NmtConfig`; its `pair` has the directions to evaluate.
        model: `Translator`.
        tokenizer: `Tokenizer`.
        test: Parallel corpus; of a model of several target languages a
            `MultilingualCorpus`.
        log: Function of one line of text.
        more: dict of lists of lists of str by direction, further references.
        keep: Function that writes texts, a dict of lists of str: sources
            `src`, translations `hyp`, references `ref`, `ref1` and so on, of
            several directions `en-fr.src` and so on. It returns the paths.

    Returns:
        dict, as `results.json` has it.
    """
    directions = [
        DirectionTexts.read(direction, corpus, config)
        for direction, corpus in by_direction(test, config)
    ]
    more = more or {}
    references = {
        texts.name: [
            texts.references,
            *(
                [_canonical(text, config) for text in further]
                for further in more.get(texts.name, ())
            ),
        ]
        for texts in directions
    }
    hypotheses, seconds = _translate_all(
        config, model, tokenizer, directions, log
    )
    if keep:
        _keep_texts(directions, hypotheses, references, keep, log)
    reset_routing(model)
    no_bleu = dataclasses.replace(
        config, dev_sentences=0, dev_score="perplexity", dev_mean="mean"
    )
    figures = DevEvaluation(no_bleu, model, tokenizer, test).of_directions()
    for note in dict.fromkeys(texts.scores_of.note for texts in directions):
        if note:
            log(note)
    found = {
        texts.name: {
            **figures[texts.name],
            **texts.scores_of(hypotheses[texts.name], references[texts.name]),
        }
        for texts in directions
    }
    return {
        "perplexity": figures[None]["perplexity"],
        "sentences_per_second": sum(map(len, hypotheses.values())) / seconds,
        **_scores_of_all(found, directions),
        "examples": _examples(directions, hypotheses),
        "routing": routing_figures(model),
    }


def _translate_all(config, model, tokenizer, directions, log):
    """Translations by direction, and the seconds that they took."""
    sources = [x for texts in directions for x in texts.sources]
    log(f"Translating {len(sources)} test sentences ...")
    _tell_long(sources, tokenizer, log)
    translate_all = TextTranslator(model, tokenizer, config.search)
    asked = [{}, {}]
    if tokenizer.targets:
        targets = [texts.target for texts in directions for _ in texts.sources]
        asked = [{"targets": targets[:1]}, {"targets": targets}]
    translate_all(sources[:1], **asked[0])  # builds the graph
    progress = TranslationProgress(log)
    start = time.monotonic()
    found = translate_all(sources, progress, **asked[1])
    seconds = time.monotonic() - start
    texts_of_all = iter([translation.text for translation in found])
    return {
        texts.name: list(itertools.islice(texts_of_all, len(texts.sources)))
        for texts in directions
    }, seconds


def _tell_long(sources, tokenizer, log):
    limit = MAX_SOURCE_LENGTH - bool(tokenizer.targets)  # its token counts
    long = longer_than(limit, sources, tokenizer)
    if long:
        first, size = next(iter(long.items()))
        log(
            f"{len(long):,} of them have over {limit} subwords, "
            f"such as number {first + 1:,} with {size:,}: only their "
            "beginning is translated."
        )


def _keep_texts(directions, hypotheses, references, keep, log):
    """Writes sources, translations and references."""
    written = {}
    for texts in directions:
        before = f"{texts.name}." if len(directions) > 1 else ""
        written[f"{before}src"] = texts.sources
        written[f"{before}hyp"] = hypotheses[texts.name]
        for number, lines in enumerate(references[texts.name]):
            written[f"{before}ref{number or ''}"] = lines
    try:
        log(f"Wrote {', '.join(map(str, keep(written)))}")
    except OSError as error:  # the figures matter more
        log(f"The translations could not be written: {error}")


def _scores_of_all(found, directions):
    """The scores of the only direction, or means and those of each."""
    if len(directions) == 1:
        [figures] = found.values()
        return {name: figures[name] for name in figures if name != "perplexity"}
    means = {
        name: sum(figures[name] for figures in found.values()) / len(found)
        for name in ("bleu", "bleu_lowercased", "chrf")
    }
    pairs = {texts.name: len(texts.sources) for texts in directions}
    return {
        **means,
        "directions": {
            name: {"pairs": pairs[name], **figures}
            for name, figures in found.items()
        },
    }


def _examples(directions, hypotheses):
    """The first translations, or one of each direction."""
    count = EXAMPLES if len(directions) == 1 else 1
    return [
        {
            **(
                {"direction": texts.name, "target": texts.target}
                if len(directions) > 1
                else {}
            ),
            "source": source,
            "translation": translation,
            "reference": reference,
        }
        for texts in directions
        for source, translation, reference in zip(
            texts.sources[:count],
            hypotheses[texts.name],
            texts.targets,
            strict=False,
        )
    ]

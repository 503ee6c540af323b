"""The functions of a SavedModel: strings in, strings out.

B: strings    S, T: subwords of the longest source, of the longest translation
n: translations of each string, the width of the beam
"""

import dataclasses
import functools

import tensorflow as tf

from translation.search.beam_options import (
    BeamOptions,
    SentenceOptions,
    same_for_all,
)
from translation.search.score import score_batch
from translation.search.translate import (
    MAX_SOURCE_LENGTH,
    check_source_length,
    sampling_of,
    translate_batch,
)
from translation.serving import warmup
from translation.serving.routing import route_batch
from translation.serving.served_model import (
    NO_SCORE,
    ServedModel,
    ended,
    joined,
    never_empty,
)
from translation.serving.signatures import (
    DEFAULTS,
    MULTILINGUAL_SIGNATURES,
    SIGNATURES,
)
from translation.serving.string_options import (
    sampling_options,
    sentence_options,
)
from translation.serving.token_routing import described
from translation.text.blanks import are_blank
from translation.text.sources import source_ids
from translation.text.special_ids import PAD_ID


class ServedTranslator(ServedModel):
    """Translates string tensors.

    Any string has a defined result, and none depends on the others: a blank
    one (see `blanks.py`) gives the empty string with score 0, a source longer
    than `max_source_length` subwords is cut, and bytes that are not UTF-8 are
    read as U+FFFD. An empty batch gives empty tensors.

    `docs/serving.md` has a table of inputs and outputs.

    Args:
        translator: A translation model (see `search/translate.py`), such as
            a Keras model or a `tf.Module`.
        tokenizer: `Tokenizer`.
        options: `BeamOptions`. `translate` gives the best translation, the
            n-best functions as many as the beam is wide.
        max_source_length: int. Subwords of a source, eos and target language
            included.
        target_languages: Sequence of str. The languages that may be asked
            for; the first is the default. A model of one language pair has
            one, or none if it is not to be named; a tokenizer with `targets`
            has these.

    Raises:
        ValueError: if the tokenizer has other target languages.
    """

    kind = "translator"

    def __init__(
        self,
        translator,
        tokenizer,
        options=None,
        max_source_length=MAX_SOURCE_LENGTH,
        target_languages=(),
    ):
        super().__init__(tokenizer, name="served_translator")
        check_source_length(max_source_length, tokenizer)
        if tokenizer.targets and {*target_languages} != {*tokenizer.targets}:
            raise ValueError(
                "`target_languages` must be those of the tokenizer, "
                f"{', '.join(tokenizer.targets)}. Received: "
                f"target_languages={list(target_languages)}"
            )
        control_ids = tuple(tokenizer.targets.values())
        self.options = options or BeamOptions()
        # The model is not an attribute: saving would export its `call` too.
        # Only `sample` draws, whatever the options.
        self._best = functools.partial(
            translate_batch,
            translator,
            options=self.options.searching(num_translations=1),
            control_ids=control_ids,
        )
        self._make_n_best = functools.partial(
            _searching,
            self.in_scope,
            translator,
            self.options.searching(num_translations=self.options.beam_width),
            control_ids,
        )
        self._score = functools.partial(score_batch, translator)
        self._route = functools.partial(route_batch, translator)
        self.max_source_length = max_source_length
        self.max_target_length = int(
            self.options.max_lengths(max_source_length)
        )
        self.target_languages = tuple(target_languages)

    @property
    def specs(self):
        """What the base class wants to know of the signatures."""
        several = bool(self.tokenizer.targets)
        return MULTILINGUAL_SIGNATURES if several else SIGNATURES

    @property
    def defaults(self):
        """The inputs of signatures that may be left out."""
        return DEFAULTS if self.tokenizer.targets else {}

    def about(self):
        return {
            "sizes": {
                "max_source_subwords": self.max_source_length,
                "max_target_subwords": self.max_target_length,
            },
            "target_languages": list(self.target_languages),
            **self._how_to_ask(),
            "search": dataclasses.asdict(self.options),
        }

    def _how_to_ask(self):
        if not self.tokenizer.targets:
            return {}
        return {
            "how_to_ask": "Signatures that translate or score have the input "
            "`target_language`: one of the target languages for each string, "
            "or one for all. The empty one stands for "
            f"{self.target_languages[0]}, and so does leaving the input out."
        }

    def warmup_requests(self, texts):
        several = self.target_languages if self.tokenizer.targets else ()
        return warmup.translation_requests(texts, several)

    def translate(self, inputs, target_language=None):
        """Translates each string.

        Args:
            inputs: `(B,)` string.
            target_language: As of `translate_with_options`. None, for a model
                of one, goes with no other.

        Returns:
            dict of `outputs` `(B,)` string and `scores` `(B,)` float32.
        """
        size = tf.size(inputs)
        inputs = never_empty(inputs)
        found = self._best(self.source_ids(inputs, target_language))
        found = self._if_known(
            target_language, self._texts(found, inputs, size)
        )
        return {
            "outputs": found["outputs"][:, 0],
            "scores": found["scores"][:, 0],
        }

    def translate_nbest(self, inputs, target_language=None):
        """Finds several translations of each string, best first.

        Args:
            inputs, target_language: As of `translate`.

        Returns:
            dict of `outputs` `(B, n)` string, `scores` `(B, n)` float32 and
            `lengths` `(B, n)` int32, in subwords with eos. Where there are
            fewer than n, the rest is empty, with scores of `NO_SCORE`.
        """
        sentences = same_for_all(self.options, tf.size(inputs))
        found = self._several(inputs, sentences, target_language)
        return self._if_known(target_language, found)

    def translate_with_options(
        self,
        inputs,
        beam_width,
        length_penalty,
        coverage_penalty,
        target_language,
    ):
        """Like `translate_nbest`, with options for each string.

        Each of the options has B entries, or 1 that goes for all.

        Args:
            inputs: `(B,)` string.
            beam_width: int32. At most n; zero or less stands for n. No more
                translations than this are returned.
            length_penalty, coverage_penalty: float32. At most 10; below
                zero, or NaN, stands for the penalty of `options`.
            target_language: string. The empty one stands for the default.
                For a language that the model does not write, there is no
                translation.

        Returns:
            dict as `translate_nbest`.
        """
        return self._with_options(
            inputs,
            target_language,
            beam_width=beam_width,
            length_penalty=length_penalty,
            coverage_penalty=coverage_penalty,
        )

    def translate_constrained(
        self,
        inputs,
        beam_width,
        length_penalty,
        coverage_penalty,
        target_language,
        prefix,
        min_length,
        no_repeat_ngram_size,
    ):
        """Like `translate_with_options`, with constraints on outputs.

        Args:
            inputs, beam_width, length_penalty, coverage_penalty,
                target_language: As of `translate_with_options`.
            prefix: string. How the translations of a string begin; the empty
                one leaves them free. Blanks around it are left out, and it is
                cut to the longest translation.
            min_length: int32. Subwords of a translation at least, with eos,
                up to the longest translation.
            no_repeat_ngram_size: int32. No n-gram of subwords of this size
                comes twice. 0 of both is no constraint; below zero stands
                for those of `options`.

        Returns:
            dict as `translate_nbest`.
        """
        return self._with_options(
            inputs,
            target_language,
            prefix,
            beam_width=beam_width,
            length_penalty=length_penalty,
            coverage_penalty=coverage_penalty,
            min_length=min_length,
            no_repeat_ngram_size=no_repeat_ngram_size,
        )

    def sample(
        self,
        inputs,
        temperature,
        top_k,
        top_p,
        seed,
        target_language,
        prefix,
        min_length,
        no_repeat_ngram_size,
    ):
        """Draws a translation of each string at random, see `sampling.py`.

        Each of the options has B entries, or 1 that goes for all.

        Args:
            inputs: `(B,)` string.
            temperature: float32. 0 takes the most probable subword; below
                zero, or NaN, stands for that of `options`.
            top_k: int32. 0 for all subwords, below zero for that of `options`.
            top_p: float32. 1 or more for all subwords; zero or less, or NaN,
                stands for that of `options`.
            seed: int32. A string with the same seed and options gets the same
                translation, whatever it shares its batch with.
            target_language, prefix, min_length, no_repeat_ngram_size: As of
                `translate_constrained`.

        Returns:
            dict of `outputs` `(B,)` string, `scores` `(B,)` float32,
            `log_probs` `(B,)` float32, at temperature 1, and `lengths` `(B,)`
            int32, in subwords with eos.
        """
        size = tf.size(inputs)
        inputs = never_empty(inputs)
        missing = tf.size(inputs) - size
        sentences = sentence_options(
            self.options,
            size,
            min_length=min_length,
            no_repeat_ngram_size=no_repeat_ngram_size,
        )

        def usual(size):
            return sampling_of(self.options, tf.zeros([size], tf.int64))

        sampling = sampling_options(
            usual(size), temperature, top_k, top_p, seed
        )
        found = self._best(
            self.source_ids(inputs, target_language),
            prefix_ids=self._prefix_ids(tf.broadcast_to(prefix, [size])),
            sentence_options=joined(
                sentences, same_for_all(self.options, missing)
            ),
            sampling=joined(sampling, usual(missing)),
        )
        found = self._if_known(
            target_language, self._texts(found, inputs, size)
        )
        return {name: values[:, 0] for name, values in found.items()}

    def routing(self, inputs, target_language=None):
        """Shows the experts of each subword of a string and its translation.

        Args:
            inputs, target_language: As of `translate`. For a language that
                the model does not write, there is no subword on either side.

        Returns:
            dict. `outputs` `(B,)` string and `scores` `(B,)` float32 as
            `translate`; `alignments` `(B, T, S)` float32, the attention of
            each subword of the translation on those of the source; and for
            both sides, `source_` and `target_`:

            - `tokens` `(B, X)` string and `lengths` `(B,)` int32, subwords
              with eos, of a translation none where there is no translation;
            - `experts` `(B, X, M, K)` int32 and `gates` `(B, X, M, K)`
              float32 of each subword in each MoE layer, the highest gate
              first, -1 and 0 for none. Those of the target are of the step
              that wrote the subword;
            - `layers` `(B, M)` string and `num_experts` `(B, M)` int32, the
              same for each string.
        """
        size = tf.size(inputs)
        inputs = never_empty(inputs)
        source_ids = self.source_ids(inputs, target_language)
        sentences = same_for_all(self.options, tf.size(inputs))
        prefix_ids = tf.zeros([tf.size(inputs), 0], tf.int32)
        found = self._n_best(source_ids, prefix_ids, *sentences)
        texts = self._texts(found, inputs, size)
        is_blank_B1 = are_blank(inputs)[:, tf.newaxis]
        target_ids = tf.where(is_blank_B1, PAD_ID, found.ids[:, 0])
        routing = self._route(source_ids, target_ids)
        pieces_of = self.tokenizer.pieces_of
        source = described("source", source_ids, routing.source, pieces_of)
        target = described("target", target_ids, routing.target, pieces_of)
        found = {"alignments": routing.alignments, **source, **target}
        found = {name: values[:size] for name, values in found.items()}
        best = {name: texts[name][:, 0] for name in ("outputs", "scores")}
        return self._if_known(target_language, best | found)

    def score(self, sources, targets, target_language=None):
        """Scores given translations.

        Blank texts are scored like others. Texts are cut: sources to
        `max_source_length` subwords, translations to as many as the search
        may write for such a source.

        Args:
            sources, targets: `(B,)` string.
            target_language: Of the translations, as of `translate`.

        Returns:
            dict of `scores` `(B,)` float32 by which translations are ranked,
            `log_probs` `(B,)` float32, natural logarithms of their
            probability, `lengths` `(B,)` int32 in subwords with eos, and for
            each subword `tokens` `(B, T)` string and `token_log_probs`
            `(B, T)` float32, padded with `""` and 0.
        """
        size = tf.size(sources)
        source_ids = self.source_ids(never_empty(sources), target_language)
        target_ids = self.ended_ids(
            never_empty(targets), self.max_target_length
        )
        found = self._score(source_ids, target_ids, self.options)
        is_real_BT = tf.not_equal(target_ids, PAD_ID)
        tokens_BT = self.tokenizer.pieces_of(target_ids)
        found = {
            "scores": tf.maximum(found.scores, NO_SCORE),
            "log_probs": tf.maximum(found.log_probs, NO_SCORE),
            "lengths": found.lengths,
            "tokens": tf.where(is_real_BT, tokens_BT, ""),
            "token_log_probs": tf.maximum(found.token_log_probs, NO_SCORE),
        }
        found = {name: values[:size] for name, values in found.items()}
        return self._if_known(target_language, found)

    @functools.cached_property
    def _n_best(self):
        """The search of all signatures that find several translations.

        It is traced once: each copy takes time to trace and to load, and room
        in the file.
        """
        with tf.init_scope():
            return self._make_n_best()

    def _with_options(self, inputs, target_language, prefix=None, **wanted):
        size = tf.size(inputs)
        sentences = sentence_options(self.options, size, **wanted)
        if prefix is not None:
            prefix = tf.broadcast_to(prefix, [size])
        found = self._several(inputs, sentences, target_language, prefix)
        return self._if_known(target_language, found)

    def _several(self, inputs, sentences, target_language, prefix_B=None):
        size = tf.size(inputs)
        inputs = never_empty(inputs)
        missing = tf.size(inputs) - size
        sentences = joined(sentences, same_for_all(self.options, missing))
        if prefix_B is None:
            prefix_ids = tf.zeros([tf.size(inputs), 0], tf.int32)
        else:
            prefix_ids = self._prefix_ids(prefix_B)
        source_ids = self.source_ids(inputs, target_language)
        found = self._n_best(source_ids, prefix_ids, *sentences)
        found = self._texts(found, inputs, size)
        del found["log_probs"]
        return found

    def _prefix_ids(self, prefix_B):
        """Subwords `(B, P)`, which leave room for eos."""
        prefix_B = never_empty(prefix_B)
        prefix_B = tf.where(are_blank(prefix_B), "", prefix_B)
        ids = self.tokenizer.tokenize(tf.strings.strip(prefix_B))
        return ids[:, : self.max_target_length - 1].to_tensor(PAD_ID)

    def _if_known(self, target_language, found):
        """Blanks out results in languages that the model does not write."""
        if target_language is None:
            return found
        size = tf.shape(found["scores"])[0]
        language_B = tf.broadcast_to(target_language, [size])
        known = tf.constant(["", *self.target_languages])
        is_known_B = tf.reduce_any(language_B[:, tf.newaxis] == known, 1)

        def if_known(name, values):
            if name.endswith(("layers", "num_experts")):
                return values  # they are the model's
            ones = [1] * (values.shape.rank - 1)
            is_known = tf.reshape(is_known_B, [size, *ones])
            return tf.where(is_known, values, _nothing(name, values.dtype))

        return {name: if_known(name, x) for name, x in found.items()}

    def _texts(self, found, inputs, size):
        """Hypotheses for `inputs` as text, for the first `size` of them."""
        flat_ids = tf.reshape(found.ids, [-1, tf.shape(found.ids)[2]])
        outputs = tf.reshape(
            self.tokenizer.detokenize(flat_ids), tf.shape(found.scores)
        )
        is_blank_B1 = are_blank(inputs)[:, tf.newaxis]
        first_score = tf.one_hot(0, found.scores.shape[1], 0.0, NO_SCORE)

        def scores(values):
            values = tf.maximum(values, NO_SCORE)
            return tf.where(is_blank_B1, first_score, values)[:size]

        return {
            "outputs": tf.where(is_blank_B1, "", outputs)[:size],
            "scores": scores(found.scores),
            "log_probs": scores(found.log_probs),
            "lengths": tf.where(is_blank_B1, 0, found.lengths)[:size],
        }

    def source_ids(self, strings, target_language=None):
        """Subwords `(B, S)` of strings `(B,)`, each row ending in eos.

        Args:
            strings: `(B,)` string.
            target_language: string, of any number of entries up to B, or 1
                for all; None for a model of one. What is missing or not
                known stands for the first of `target_languages`.
        """
        targets = self.tokenizer.targets
        if not targets:
            return self.ended_ids(strings, self.max_source_length)
        language_B = tf.broadcast_to(
            never_empty(target_language), tf.shape(strings)
        )
        known = tf.constant(self.target_languages)
        # Of the language; the first of the languages where none is equal.
        is_it = tf.cast(language_B[:, tf.newaxis] == known, tf.int32)
        place_B = tf.argmax(is_it, axis=1)
        ids = tf.constant([targets[x] for x in self.target_languages])
        ids = source_ids(self.tokenizer, strings, tf.gather(ids, place_B))
        return ended(ids, self.max_source_length)


def _nothing(name, dtype):
    """What an output has where there is no translation."""
    if name in ("scores", "log_probs"):
        return NO_SCORE
    if name.endswith("experts"):
        return -1
    return tf.zeros([], dtype)  # of strings the empty one


def _searching(in_scope, translator, options, control_ids):
    """Traces a search with options for each sentence."""

    def search(source_ids, prefix_ids, *sentences):
        return translate_batch(
            translator,
            source_ids,
            options,
            prefix_ids=prefix_ids,
            sentence_options=SentenceOptions(*sentences),
            control_ids=control_ids,
        )

    ids = tf.TensorSpec([None, None], tf.int32)
    sentences = (
        tf.TensorSpec([None], values.dtype)
        for values in same_for_all(options, 0)
    )
    return tf.function(
        in_scope(search),
        input_signature=[ids, ids, *sentences],
        autograph=False,
    ).get_concrete_function()

"""The functions of a language model's SavedModel: strings in, strings out.

B: strings    T: longest of them, or of their continuations, in subwords
M: MoE layers    K: experts per token
"""

import dataclasses
import functools

import tensorflow as tf

from language_model.batches import with_inputs
from language_model.generate import (
    GenerateOptions,
    continue_prompts,
    sampling_of,
    token_log_probs,
)
from language_model.serving.signatures import SIGNATURES
from moe_keras.monitoring import uncounted
from translation.search.sampling import Sampling
from translation.serving.served_model import (
    NO_SCORE,
    ServedModel,
    joined,
    never_empty,
)
from translation.serving.string_options import sampling_options
from translation.serving.token_routing import (
    collected_calls,
    described,
    layer_names,
    routings_of,
    token_routing,
)
from translation.serving.warmup import in_batches
from translation.text.special_ids import PAD_ID

# Subwords of a text that are read, the mark at its begin or end included.
MAX_LENGTH = 1024
# Subwords that a request may ask for, unless the default is more.
MAX_TOKENS = 256


class ServedLanguageModel(ServedModel):
    """Continues string tensors, and scores them.

    Any string has a defined result, and none depends on the others. A prompt
    of more than `max_length` subwords is continued by what the last of them
    say; of a text to be scored the first are. Bytes that are not UTF-8 are
    read as U+FFFD, or as an unknown word. An empty batch gives empty tensors.

    Args:
        model: `LanguageModel`.
        vocabulary: `Tokenizer` or `WordVocabulary`.
        options: `GenerateOptions`, how texts are continued by default.
        max_length: int. Subwords of a text that are read.
    """

    kind = "language model"
    specs = SIGNATURES

    def __init__(self, model, vocabulary, options=None, max_length=MAX_LENGTH):
        super().__init__(vocabulary, name="served_language_model")
        self.options = options or GenerateOptions()
        self.max_length = max_length
        self.max_tokens = max(self.options.max_tokens, MAX_TOKENS)
        # The model is not an attribute: saving would export its `call` too.
        self._make_continuing = functools.partial(_continuing, model)
        self._log_probs = functools.partial(_log_probs, model)
        self._route = functools.partial(_route, model)

    def about(self):
        return {
            "sizes": {
                "max_subwords": self.max_length,
                "max_new_subwords": self.max_tokens,
            },
            "generate": dataclasses.asdict(self.options),
        }

    def warmup_requests(self, texts):
        found = in_batches(("serving_default", "score"), texts)
        one = found[0][1]["inputs"]
        options = {
            "inputs": one,
            "temperature": tf.constant([0.8]),
            "top_k": tf.constant([40]),
            "top_p": tf.constant([0.9]),
            "max_tokens": tf.constant([0]),
            "seed": tf.constant([1]),
        }
        return [
            *found,
            ("generate_with_options", options),
            ("routing", {"inputs": one}),
            ("tokenize", {"inputs": one}),
            ("detokenize", {"ids": tf.constant([[4, 5, 2]])}),
        ]

    def generate(self, inputs):
        """Continues each string, as the options of the export say.

        Args:
            inputs: `(B,)` string; an empty one begins a text.

        Returns:
            dict of `outputs` `(B,)` string, each string with its
            continuation; and of the continuation alone `log_probs` `(B,)`
            float32, natural logarithms of its probability at temperature 1,
            `lengths` `(B,)` int32 in subwords with eos, which is there also
            where the longest continuation ends, and for each subword `tokens`
            `(B, T)` string and `token_log_probs` `(B, T)` float32, padded
            with `""` and 0.
        """
        size = tf.size(inputs)
        inputs = never_empty(inputs)
        drawn, longest = self._usual(tf.size(inputs))
        return self._generated(inputs, size, drawn, longest)

    def generate_with_options(
        self, inputs, temperature, top_k, top_p, max_tokens, seed
    ):
        """Like `generate`, with options for each string.

        Each of the options has B entries, or 1 that goes for all.

        Args:
            inputs: `(B,)` string.
            temperature: float32. 0 takes the most probable subword; below
                zero, or NaN, stands for that of `options`.
            top_k: int32. 0 for all subwords, below zero for that of `options`.
            top_p: float32. 1 or more for all subwords; zero or less, or NaN,
                stands for that of `options`.
            max_tokens: int32. Subwords of the continuation, eos not counted,
                up to the limit of the export; zero or less stands for that of
                `options`.
            seed: int32. A string with the same seed and options gets the same
                continuation, whatever it shares its batch with.

        Returns:
            dict as `generate`.
        """
        size = tf.size(inputs)
        usual, usual_longest = self._usual(size)
        drawn = sampling_options(usual, temperature, top_k, top_p, seed)
        wanted = tf.minimum(
            tf.broadcast_to(max_tokens, [size]), self.max_tokens
        )
        longest = tf.where(wanted > 0, wanted, usual_longest)
        inputs = never_empty(inputs)
        more, more_longest = self._usual(tf.size(inputs) - size)
        return self._generated(
            inputs,
            size,
            joined(drawn, more),
            tf.concat([longest, more_longest], 0),
        )

    def score(self, inputs):
        """Scores each string, read from its begin to its end mark.

        Args:
            inputs: `(B,)` string.

        Returns:
            dict of `log_probs` `(B,)` float32, natural logarithms of their
            probability, `lengths` `(B,)` int32 in subwords with eos, and for
            each subword `tokens` `(B, T)` string and `token_log_probs`
            `(B, T)` float32, padded with `""` and 0.
        """
        size = tf.size(inputs)
        targets = self.ended_ids(never_empty(inputs), self.max_length)
        log_probs_BT = self._log_probs(targets)
        return self._scored(targets, log_probs_BT, size)

    def routing(self, inputs):
        """Shows the experts of each subword of a string, and its probability.

        Args:
            inputs: `(B,)` string.

        Returns:
            dict. `log_probs` `(B,)` and `token_log_probs` `(B, T)` as `score`;
            `read_tokens` `(B, T)` string, the subword that was read where each
            was told, the begin mark first; and

            - `target_tokens` `(B, T)` string and `target_lengths` `(B,)`
              int32, the subwords that are told, with eos;
            - `target_experts` `(B, T, M, K)` int32 and `target_gates`
              `(B, T, M, K)` float32 of the step that told the subword, in
              each MoE layer, the highest gate first, -1 and 0 for none;
            - `target_layers` `(B, M)` string and `target_num_experts`
              `(B, M)` int32, the same for each string.
        """
        size = tf.size(inputs)
        targets = self.ended_ids(never_empty(inputs), self.max_length)
        routing, log_probs_BT = self._route(targets)
        scored = self._scored(targets, log_probs_BT, size)
        sides = described("target", targets, routing, self.tokenizer.pieces_of)
        return {
            "log_probs": scored["log_probs"],
            "token_log_probs": scored["token_log_probs"],
            "read_tokens": self._pieces(with_inputs(targets)["ids"])[:size],
            **{name: values[:size] for name, values in sides.items()},
        }

    @functools.cached_property
    def _continuing(self):
        """The loop of both signatures that continue texts, traced once."""
        with tf.init_scope():
            return self._make_continuing(self.in_scope)

    def _usual(self, size):
        """`Sampling` and longest continuations of `size` strings."""
        seed = tf.constant([[self.options.seed, 0]], tf.int64)
        longest = tf.fill([size], self.options.max_tokens)
        return sampling_of(self.options, tf.tile(seed, [size, 1])), longest

    def _generated(self, inputs, size, drawn, longest):
        """Continuations of `inputs`, for the first `size` of them."""
        prompts = self.tokenizer.tokenize(inputs)
        read_ids = prompts[:, 1 - self.max_length :].to_tensor(PAD_ID)
        ids, token_log_probs_BT, lengths = self._continuing(
            read_ids, longest, *drawn
        )
        written = tf.RaggedTensor.from_tensor(ids, lengths)
        whole = tf.concat([prompts, written], axis=1).to_tensor(PAD_ID)
        found = self._scored(ids, token_log_probs_BT, size)
        return {"outputs": self.tokenizer.detokenize(whole)[:size], **found}

    def _scored(self, ids, token_log_probs_BT, size):
        log_probs = tf.reduce_sum(token_log_probs_BT, axis=1)
        lengths = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)
        return {
            "log_probs": tf.maximum(log_probs, NO_SCORE)[:size],
            "lengths": lengths[:size],
            "tokens": self._pieces(ids)[:size],
            "token_log_probs": tf.maximum(token_log_probs_BT, NO_SCORE)[:size],
        }

    def _pieces(self, ids):
        pieces = self.tokenizer.pieces_of(ids)
        return tf.where(tf.not_equal(ids, PAD_ID), pieces, "")


def _continuing(model, in_scope):
    """Traces continuations: ids, log probabilities, lengths.

    Args:
        model: `LanguageModel`.
        in_scope: `ServedModel.in_scope`.
    """

    def draw(prompt_ids, longest, *sampling):
        found = continue_prompts(
            model, prompt_ids, longest, Sampling(*sampling)
        )
        return found.ids[:, 0], found.token_log_probs[:, 0], found.lengths[:, 0]

    strings = (
        tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([None, 2], tf.int64),
    )
    ids, longest = tf.TensorSpec([None, None], tf.int32), strings[1]
    return tf.function(
        in_scope(draw),
        input_signature=[ids, longest, *strings],
        autograph=False,
    ).get_concrete_function()


def _log_probs(model, targets):
    with uncounted(model):
        log_probs, _ = token_log_probs(
            model, with_inputs(targets)["ids"], targets
        )
    return tf.cast(log_probs, tf.float32)


def _route(model, targets):
    with collected_calls([model]) as calls:
        log_probs = _log_probs(model, targets)
    routing = token_routing(
        calls,
        routings_of(calls),
        tf.not_equal(targets, PAD_ID),
        layer_names([model]),
    )
    return routing, log_probs

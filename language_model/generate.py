"""Continues texts with a language model, and scores them.

B: texts    P: longest prompt    n: continuations of each    T: time steps
"""

import dataclasses

import tensorflow as tf

from moe_keras.monitoring import uncounted
from translation.search.sampling import Sampling, sample
from translation.text.special_ids import (
    BOS_ID,
    EOS_ID,
    PAD_ID,
    UNK_ID,
)

_CHUNK = 512  # tokens whose logits are in memory at once


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Options of the continuation of texts.

    Raises:
        ValueError: when a field is out of range, naming it.

    Example:

    >>> GenerateOptions(temperature=0.7).max_tokens
    64
    """

    max_tokens: int = 64  # of a continuation, at most
    temperature: float = 1.0  # 0 always takes the most probable
    top_k: int = 0  # only so many most probable are drawn from; 0: all
    top_p: float = 1.0  # only the most probable of this fraction together
    seed: int = 0  # others give other texts

    def __post_init__(self):
        limits = {
            "max_tokens": self.max_tokens >= 1,
            "temperature": 0 <= self.temperature < float("inf"),
            "top_k": self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
        }
        ranges = {
            "max_tokens": "at least 1",
            "temperature": "0 or more",
            "top_k": "0 or more",
            "top_p": "above 0 and at most 1",
        }
        for name, is_right in limits.items():
            if not is_right:
                raise ValueError(
                    f"`{name}` must be {ranges[name]}. "
                    f"Received: {name}={getattr(self, name)}"
                )


def sampling_of(options, seeds):
    """How options say to draw.

    Args:
        options: `GenerateOptions`.
        seeds: Integer tensor `(B, 2)`, for each text.

    Returns:
        `translation.search.sampling.Sampling`.
    """
    size = tf.shape(seeds)[:1]
    return Sampling(
        temperature=tf.fill(size, tf.constant(options.temperature, tf.float32)),
        top_k=tf.fill(size, options.top_k),
        top_p=tf.fill(size, tf.constant(options.top_p, tf.float32)),
        seeds=tf.cast(seeds, tf.int64),
    )


def continue_prompts(model, prompt_ids, max_tokens, sampling, count=1):
    """Draws continuations of prompts, in the graph or outside.

    Neither padding, bos nor unk are ever drawn.

    Args:
        model: `LanguageModel`.
        prompt_ids: `(B, P)` int32, padded on the right with 0, without bos.
        max_tokens: int32 tensor `(B,)`, eos not counted.
        sampling: `translation.search.sampling.Sampling`.
        count: int. Continuations of each prompt, n.

    Returns:
        `translation.search.sampling.Samples`, without the prompts.
    """
    prompt_ids = tf.convert_to_tensor(prompt_ids, tf.int32)
    read_BP = tf.pad(prompt_ids, [[0, 0], [1, 0]], constant_values=BOS_ID)
    length_B = tf.math.count_nonzero(read_BP, axis=1, dtype=tf.int32)
    last_B = tf.gather(read_BP, length_B - 1, batch_dims=1)
    # The last subword is read by the first step, which tells what follows.
    is_before = tf.range(tf.shape(read_BP)[1]) < length_B[:, None] - 1
    with uncounted(model):
        _, state = model.features(tf.where(is_before, read_BP, PAD_ID))

        def step(ids, state):
            layers, unread_N = state
            ids = tf.where(unread_N > 0, unread_N, ids)
            logits, layers = model.step(ids, layers)
            return logits, (layers, tf.zeros_like(unread_N))

        return sample(
            step,
            (state, last_B),
            max_tokens + 1,
            sampling,
            count=count,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            forbidden_ids=(PAD_ID, BOS_ID, UNK_ID),
        )


class TextGenerator:
    """Continues texts; keep it, for its graph is built only once.

    Args:
        model: `LanguageModel`.
        vocabulary: `Tokenizer` or `WordVocabulary`.
        options: `GenerateOptions`.

    Example:

    >>> from language_model.config import LanguageModelConfig
    >>> from language_model.model import LanguageModel
    >>> from language_model.words import count_words
    >>> words = count_words(["a dog sleeps"], 9)
    >>> config = LanguageModelConfig(vocab_size=7, depth=4, lstm_units=4)
    >>> options = GenerateOptions(max_tokens=3)
    >>> generate = TextGenerator(LanguageModel(config), words, options)
    >>> [text.startswith("a dog") for text in generate(["a dog"], count=2)[0]]
    [True, True]
    """

    def __init__(self, model, vocabulary, options=None):
        self._vocabulary = vocabulary
        self.options = options or GenerateOptions()
        self._continue = tf.function(
            lambda ids, longest, sampling, count: (
                continue_prompts(model, ids, longest, sampling, count).ids
            ),
            reduce_retracing=True,
            autograph=False,
        )

    def __call__(self, prompts, count=1, first=0, seeds=None):
        """Continues prompts.

        Args:
            prompts: List of str; an empty one begins a text.
            count: int. Continuations of each.
            first: int. Number of the first prompt: a prompt of another number
                is continued otherwise.
            seeds: List of an int for each prompt, in place of the seed of the
                options and the numbers.

        Returns:
            List of lists of `count` str, prompts included.
        """
        options, size = self.options, len(prompts)
        ids = tf.ragged.constant(
            self._vocabulary.encode(prompts), dtype=tf.int32, ragged_rank=1
        ).to_tensor(PAD_ID)
        if seeds is None:
            pairs = [(options.seed, first + n) for n in range(size)]
        else:
            pairs = [(seed, 0) for seed in seeds]
        pairs = tf.reshape(tf.constant(pairs, tf.int64), [size, 2])
        sampling = sampling_of(options, pairs)
        longest = tf.fill([size], options.max_tokens)
        found = self._continue(ids, longest, sampling, count).numpy()
        prompt_ids = self._vocabulary.encode(prompts)
        return [
            self._vocabulary.decode([[*prompt, *row] for row in rows.tolist()])
            for prompt, rows in zip(prompt_ids, found, strict=True)
        ]


def token_log_probs(model, ids, targets, state=None):
    """Log probability of each target, by the full softmax.

    Args:
        model: `LanguageModel`.
        ids, targets: int32 tensors `(B, T)`, as of `line_batches`.
        state: State before them, or None.

    Returns:
        Tensor `(B, T)`, in nats, 0 at padding; and the state behind them.
    """
    outputs, state = model.features(ids, state)
    outputs_ND = tf.reshape(outputs, [-1, outputs.shape[-1]])
    nll = model.nll(outputs_ND, tf.reshape(targets, [-1]), _CHUNK)
    nll = tf.reshape(nll, tf.shape(targets))
    return tf.where(targets == PAD_ID, tf.zeros_like(nll), -nll), state

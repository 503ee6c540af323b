"""Negative log likelihoods of targets: full, in chunks, or by sampling.

N: tokens    D: depth    V: vocabulary    S: sampled candidates
"""

import keras
import tensorflow as tf


def full_nll(outputs, targets, kernel, bias, chunk=None):
    """Negative log likelihood of each target under the whole vocabulary.

    Args:
        outputs: Tensor `(N, D)`.
        targets: int32 tensor `(N,)`, values in `[0, V)`.
        kernel: Tensor `(V, D)`.
        bias: Tensor `(V,)`, float32 or float64.
        chunk: int or None. So many tokens at a time, one chunk after the
            other: at most `chunk * V` logits are in memory at once. None: all
            at a time.

    Returns:
        Tensor `(N,)` of the dtype of `bias`, in nats.

    Example:

    >>> kernel, bias = tf.ones((4, 2)), tf.zeros(4)
    >>> nll = full_nll(tf.zeros((3, 2)), [0, 1, 3], kernel, bias)
    >>> [round(float(value), 4) for value in nll]  # log 4
    [1.3863, 1.3863, 1.3863]
    """
    targets = tf.convert_to_tensor(targets, tf.int32)

    def of_some(outputs_ND, targets_N):
        logits_NV = tf.matmul(outputs_ND, kernel, transpose_b=True)
        logits_NV = tf.cast(logits_NV, bias.dtype) + bias
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            targets_N, logits_NV
        )

    if chunk is None:
        return of_some(outputs, targets)
    count = tf.shape(targets)[0]
    missing = -count % chunk
    outputs = tf.pad(outputs, [[0, missing], [0, 0]])
    parts = tf.map_fn(
        lambda part: of_some(*part),
        (
            tf.reshape(outputs, [-1, chunk, outputs.shape[-1]]),
            tf.reshape(tf.pad(targets, [[0, missing]]), [-1, chunk]),
        ),
        parallel_iterations=1,
        fn_output_signature=bias.dtype,
    )
    return tf.reshape(parts, [-1])[:count]


class SampledSoftmax(keras.layers.Layer):
    """Estimates the normaliser of a large softmax from sampled candidates.

    The softmax's normaliser is a sum over the vocabulary. It is estimated by
    importance sampling: with candidates s drawn from a distribution q, with
    replacement,

        Z(t) = exp(o_t) + sum_s [s is not t] exp(o_s) / (S q_s)

    has the true normaliser as its mean, whatever q is (Bengio and Senecal
    2008; arXiv:1602.02410, section 3.1; the paper's appendix C). The loss is
    `log Z(t) - o_t`. All tokens of a batch share the candidates. It is for
    training: perplexity needs `full_nll`.

    Args:
        num_candidates: int. S.
        counts: Array `(V,)` or None. Candidates are drawn in proportion to
            these counts of words in the training text, each raised by one so
            that all can be drawn; None draws them log-uniformly,
            `q_s = log((s + 2) / (s + 1)) / log(V + 1)`, which fits a
            vocabulary in the order of falling counts.
        vocab_size: int or None. V, where there are no counts.
        seed: int. Of the draws; their state is a weight, and so stands in
            checkpoints.

    Call arguments:
        outputs: Tensor `(N, D)`.
        targets: int32 tensor `(N,)`.
        kernel: Variable or tensor `(V, D)`; only rows that are needed are
            gathered, and its gradient is an `IndexedSlices`.
        bias: Variable or tensor `(V,)`.

    Returns:
        Estimated negative log likelihoods `(N,)`, float32, in nats.

    Raises:
        ValueError: if neither or both of `counts` and `vocab_size` are given,
            `num_candidates` is below 1, or a count is negative.

    Example:

    >>> layer = SampledSoftmax(num_candidates=3, vocab_size=10, seed=1)
    >>> kernel, targets = tf.ones((10, 4)), tf.constant([1, 7])
    >>> nll = layer(tf.ones((2, 4)), targets, kernel, tf.zeros(10))
    >>> tuple(nll.shape)
    (2,)
    """

    def __init__(
        self, num_candidates, counts=None, vocab_size=None, seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        if type(num_candidates) is not int or num_candidates < 1:
            raise ValueError(
                "`num_candidates` must be a positive integer. "
                f"Received: num_candidates={num_candidates!r}"
            )
        if (counts is None) == (vocab_size is None):
            raise ValueError(
                "Give `counts`, or `vocab_size` for candidates that are drawn "
                f"log-uniformly. Received: counts={counts}, "
                f"vocab_size={vocab_size}"
            )
        self.num_candidates = num_candidates
        self._log_share_V = _log_shares(counts, vocab_size)
        self._until_V = tf.cumsum(tf.exp(self._log_share_V))
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, outputs, targets, kernel, bias):
        targets_N = tf.convert_to_tensor(targets, tf.int32)
        candidate_S = self.draw()
        true_N = _scores(outputs, targets_N, kernel, bias)
        rows_SD = tf.cast(tf.gather(kernel, candidate_S), outputs.dtype)
        logits_NS = tf.matmul(outputs, rows_SD, transpose_b=True)
        logits_NS = tf.cast(logits_NS, "float32")
        logits_NS += tf.cast(tf.gather(bias, candidate_S), "float32")
        expected_S = tf.gather(self._log_share_V, candidate_S)
        logits_NS -= tf.math.log(float(self.num_candidates)) + tf.cast(
            expected_S, "float32"
        )
        is_target_NS = targets_N[:, None] == candidate_S
        logits_NS = tf.where(is_target_NS, logits_NS.dtype.min, logits_NS)
        all_NS = tf.concat([true_N[:, None], logits_NS], 1)
        return tf.reduce_logsumexp(all_NS, 1) - true_N

    @property
    def state(self):
        """The `tf.Variable` of the draws, for checkpoints."""
        return self._seeds.state.value

    def draw(self):
        """The next candidates: int32 tensor `(S,)`."""
        uniform_S = tf.random.stateless_uniform(
            [self.num_candidates],
            tf.cast(self._seeds.next(), tf.int32),
            dtype=tf.float64,
        )
        place_S = tf.searchsorted(
            self._until_V, uniform_S * self._until_V[-1], side="right"
        )
        return tf.minimum(place_S, self._until_V.shape[0] - 1)


def _scores(outputs, ids, kernel, bias):
    """Logit of one subword for each token: float32 `(N,)`."""
    rows_ND = tf.cast(tf.gather(kernel, ids), outputs.dtype)
    scores_N = tf.reduce_sum(tf.cast(outputs * rows_ND, "float32"), 1)
    return scores_N + tf.cast(tf.gather(bias, ids), "float32")


def _log_shares(counts, vocab_size):
    """Log probability of each subword to be drawn: float64 `(V,)`."""
    if counts is None:
        rank_V = tf.range(vocab_size, dtype=tf.float64)
        share_V = tf.math.log1p(1 / (rank_V + 1))
    else:
        share_V = tf.cast(counts, tf.float64) + 1
        if not tf.reduce_min(share_V) >= 1:
            raise ValueError(
                "`counts` must not be negative. "
                f"Received: {float(tf.reduce_min(share_V)) - 1:g}"
            )
    return tf.math.log(share_V / tf.reduce_sum(share_V))

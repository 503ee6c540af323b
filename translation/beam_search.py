"""Beam search (GNMT, Wu et al. 2016, section 7) for any step function.

B: sentences still open    W: beam width    N: hypotheses, B * W
V: vocabulary    K: tokens looked at for each hypothesis
S: source length    L: longest output and the bos in front of it

Every sentence has W slots. A step extends its open hypotheses and keeps the
most probable; one that ends in eos keeps its slot for good, so that the beam
narrows as hypotheses finish (a beam of 1 is greedy search). What has finished
is ranked by equation 14, see `beam_options.py`. Only core TensorFlow operations
are used, so that any server can run the search.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from translation.beam_options import (
    BeamOptions,
    coverage_penalty,
    length_penalty,
)
from translation.beams import (
    NEVER,
    PAD_ID,
    Sentences,
    best_hypotheses,
    first_beams,
    gather_rows,
    store_rows,
)
from translation.best_tokens import best_tokens

# Once no more than this share of the sentences is open, the others leave the
# batch. Lower saves copies of the memory, higher saves steps.
COMPACT_BELOW = 0.8


def beam_search(
    step,
    state,
    max_lengths,
    options=None,
    *,
    memory=None,
    alignment=None,
    source_mask=None,
    return_alignments=False,
    bos_id=1,
    eos_id=2,
    forbidden_ids=(0, 1),
):
    """Finds the best outputs of `step` for each sentence of a batch.

    Results of a sentence depend neither on the others nor on padding. An
    output that reaches its maximum length can only be continued by eos.

    Args:
        step: Function `(ids (N,) int32, state) -> (scores (N, V), state)`,
            of the last token of each hypothesis, where `scores` are log
            probabilities or logits of the next one. Rows `W * b` to
            `W * b + W - 1` belong to sentence `b`. With `memory`, it is
            called as `step(ids, state, memory)`.
        state: Nest of tensors with leading dimension B: the state before the
            first token, `()` if there is none. The search repeats it to N
            rows, and reorders these after each step.
        max_lengths: Tensor `(B,)` int32. Longest output, eos included.
        options: `BeamOptions`.
        memory: Nest of tensors with leading dimension B that no step changes,
            such as an encoder's output. It is neither repeated nor reordered
            (W is N / B), but sentences that are done leave it: a step must
            use the memory it is given, not one it has from elsewhere.
        alignment: Function `state -> (N, S)`, the attention of the last step.
            Coverage and alignments need it.
        source_mask: Tensor `(B, S)`, false on padding. Goes with `alignment`.
        return_alignments: bool. Whether the result has `alignments`.
        bos_id: int. The token that every output starts after.
        eos_id: int. The token that ends an output.
        forbidden_ids: Sequence of int. Tokens that are never chosen.

    Returns:
        `translation.beams.Hypotheses`.

    Raises:
        ValueError: if eos is forbidden, or if attention is needed (see
            `alignment`) and not given.

    Example, a coin that ends with 2 and goes on with 3:

    >>> def step(ids, state):
    ...     log_probs = tf.math.log([0.0, 0.0, 0.4, 0.6])
    ...     return tf.tile(log_probs[None], [tf.shape(ids)[0], 1]), state
    >>> options = BeamOptions(beam_width=2, coverage_penalty=0.0)
    >>> beam_search(step, (), tf.constant([3]), options).ids.numpy().tolist()
    [[[2]]]
    """
    options = options or BeamOptions()
    attentive = options.coverage_penalty > 0 or return_alignments
    if attentive and (alignment is None or source_mask is None):
        raise ValueError(
            "A coverage penalty and alignments need `alignment` and "
            "`source_mask`: pass both, or use "
            "BeamOptions(coverage_penalty=0). Received: coverage_penalty="
            f"{options.coverage_penalty}, alignment={alignment}, "
            f"source_mask={source_mask}"
        )
    if eos_id in forbidden_ids:
        raise ValueError(
            "`forbidden_ids` must not hold `eos_id`, or no output could end. "
            f"Received: forbidden_ids={forbidden_ids}, eos_id={eos_id}"
        )
    search = _Search(
        step=step if memory is not None else lambda i, s, _: step(i, s),
        options=options,
        alignment=alignment if attentive else None,
        keep_alignments=return_alignments,
        eos_id=eos_id,
        forbidden_ids=tuple(sorted(set(forbidden_ids))),
    )
    max_lengths = tf.maximum(tf.cast(max_lengths, tf.int32), 1)
    # All of them, which only the running program can know: the graph optimizer
    # folds `tf.size` of a batch of known size to a constant, although the
    # batch shrinks in the loop.
    index = tf.cast(tf.where(max_lengths > 0)[:, 0], tf.int32)
    everything = Sentences(
        index=tf.range(tf.size(index)),
        max_length=max_lengths,
        source_mask=source_mask if attentive else (),
        memory=() if memory is None else memory,
    )
    sentences = gather_rows(everything, index)
    beams = first_beams(
        sentences, options.beam_width, bos_id, return_alignments
    )
    beams = search.run(sentences, beams, state)
    return best_hypotheses(beams, options.num_translations)


@dataclasses.dataclass(frozen=True)
class _Search:
    """The parts of the loop, and what they share."""

    step: Callable
    options: BeamOptions
    alignment: Callable | None
    keep_alignments: bool
    eos_id: int
    forbidden_ids: tuple

    def run(self, sentences, beams, state):
        """Steps until all sentences are settled; returns all their beams."""
        row_N = tf.repeat(sentences.index, self.options.beam_width)
        state = gather_rows(state, row_N)
        some_open = tf.size(sentences.index) > 0
        # The last one is for the caller's whole batch: it is filled in as
        # sentences leave the loop.
        loop_vars = (0, some_open, sentences, beams, state, beams)
        *_, sentences, beams, _, done = tf.while_loop(
            lambda time, some_open, *_: some_open,
            self.advance,
            tf.nest.map_structure(tf.convert_to_tensor, loop_vars),
            shape_invariants=tf.nest.map_structure(_any_rows, loop_vars),
        )
        return store_rows(done, sentences, beams)

    def advance(self, time, _, sentences, beams, state, done):
        """One step of the loop: a token more for each open hypothesis."""
        ids_N = tf.reshape(beams.ids[:, :, time], [-1])
        scores_NV, stepped = self.step(ids_N, state, sentences.memory)
        tf.nest.assert_same_structure(state, stepped, check_types=False)
        if self.alignment is not None:
            beams = self.attend(time, beams, self.alignment(stepped))
        beams, parent_BW = self.extend(time, sentences, beams, scores_NV)

        open_B = ~self.settled(sentences, beams)
        keep_B, sentences, beams, done = self.compact(
            open_B, sentences, beams, done
        )
        row_BW = keep_B[:, None] * self.options.beam_width
        row_N = tf.reshape(row_BW + tf.gather(parent_BW, keep_B), [-1])
        state = tf.nest.pack_sequence_as(
            state, [tf.gather(x, row_N) for x in tf.nest.flatten(stepped)]
        )
        return time + 1, tf.reduce_any(open_B), sentences, beams, state, done

    def attend(self, time, beams, alignment_NS):
        """Adds up the attention that each source position receives."""
        alignment_BWS = tf.reshape(
            tf.cast(alignment_NS, tf.float32), tf.shape(beams.coverage)
        )
        if self.keep_alignments:
            now_L11 = tf.range(tf.shape(beams.ids)[2])[:, None] == time + 1
            beams = beams._replace(
                alignments=tf.where(
                    now_L11, alignment_BWS[:, :, None], beams.alignments
                )
            )
        return beams._replace(coverage=beams.coverage + alignment_BWS)

    def extend(self, time, sentences, beams, scores_NV):
        """The W most probable continuations of each sentence."""
        token_BWK, log_prob_BWK = self.candidates(
            time, sentences.max_length, scores_NV
        )
        # What is finished has one continuation: itself, before all others.
        count = token_BWK.shape[2]
        itself_K = tf.one_hot(0, count, float("inf"), NEVER)
        total_BWK = tf.where(
            beams.finished[..., None],
            itself_K,
            beams.log_prob[..., None] + log_prob_BWK,
        )
        best_BW, place_BW = tf.math.top_k(
            _join_slots(total_BWK), self.options.beam_width
        )
        parent_BW = place_BW // count
        token_BW = tf.gather(_join_slots(token_BWK), place_BW, batch_dims=1)
        beams = gather_rows(beams, parent_BW, batch_dims=1)

        # Only the first copy of what is finished has a place in the beam.
        finished_BW = beams.finished & (best_BW > NEVER)
        open_BW = ~beams.finished & (best_BW > NEVER)
        ended_BW = open_BW & (token_BW == self.eos_id)
        log_prob_BW = tf.where(finished_BW, beams.log_prob, best_BW)
        score_BW = self.score(time + 1, sentences, log_prob_BW, beams.coverage)
        now_L = tf.range(tf.shape(beams.ids)[2]) == time + 1
        token_BW1 = tf.where(open_BW, token_BW, PAD_ID)[..., None]
        beams = beams._replace(
            ids=tf.where(now_L, token_BW1, beams.ids),
            log_prob=log_prob_BW,
            score=tf.where(
                ended_BW,
                score_BW,
                tf.where(finished_BW, beams.score, NEVER),
            ),
            length=tf.where(
                ended_BW, time + 1, tf.where(finished_BW, beams.length, 0)
            ),
            finished=finished_BW | ended_BW,
        )
        return beams, parent_BW

    def candidates(self, time, max_length_B, scores_NV):
        """Tokens and log probabilities `(B, W, K)` that may come next."""
        width, size = self.options.beam_width, scores_NV.shape[1]
        if size is None:
            raise ValueError(
                "`step` must return scores whose vocabulary size is known "
                "when the graph is built; use `tf.ensure_shape`. Received: "
                f"scores of shape {scores_NV.shape}"
            )
        # Enough that W remain when the forbidden ones are taken out.
        count = min(width + len(self.forbidden_ids), size)
        best_NK, token_NK, normalizer_N = best_tokens(scores_NV, count)
        for forbidden_id in self.forbidden_ids:
            best_NK = tf.where(token_NK == forbidden_id, NEVER, best_NK)

        last_N1 = tf.repeat(time + 1 >= max_length_B, width)[:, None]
        eos_N1 = tf.cast(scores_NV[:, self.eos_id, None], tf.float32)
        only_eos_NK = tf.where(tf.range(count) == 0, eos_N1, NEVER)
        best_NK = tf.where(last_N1, only_eos_NK, best_NK)
        token_NK = tf.where(last_N1, self.eos_id, token_NK)

        # Nothing can follow where the scores are not finite. Rounding must
        # not lift a log probability above 0: `settled` relies on that.
        log_prob_NK = tf.minimum(best_NK - normalizer_N[:, None], 0.0)
        finite_N1 = tf.math.is_finite(normalizer_N)[:, None]
        log_prob_NK = tf.where(finite_N1, log_prob_NK, NEVER)
        shape_BWK = [-1, width, count]
        return (
            tf.reshape(token_NK, shape_BWK),
            tf.reshape(log_prob_NK, shape_BWK),
        )

    def score(self, length, sentences, log_prob_BW, coverage_BWS):
        """Equation 14, for hypotheses that end here."""
        options = self.options
        score_BW = log_prob_BW / length_penalty(length, options.length_penalty)
        if options.coverage_penalty:
            mask_B1S = sentences.source_mask[:, None]
            score_BW += coverage_penalty(
                coverage_BWS, mask_B1S, options.coverage_penalty
            )
        return tf.where(tf.math.is_nan(score_BW), NEVER, score_BW)

    def settled(self, sentences, beams):
        """Whether the best translations of a sentence are certain, `(B,)`.

        Log probabilities only fall, lp only grows up to the maximum length
        and cp is at most 0: an open hypothesis cannot end above its log
        probability over lp(maximum length).
        """
        open_BW = tf.where(beams.finished, NEVER, beams.log_prob)
        best_open_B = tf.reduce_max(open_BW, axis=1)
        if not self.options.early_stop:
            return best_open_B <= NEVER
        bound_B = best_open_B / length_penalty(
            sentences.max_length, self.options.length_penalty
        )
        count = self.options.num_translations
        return tf.math.top_k(beams.score, count)[0][:, -1] >= bound_B

    def compact(self, open_B, sentences, beams, done):
        """Lets settled sentences leave, when there are enough of them."""

        def leave():
            keep_B = tf.cast(tf.where(open_B)[:, 0], tf.int32)
            kept = gather_rows((sentences, beams), keep_B)
            return keep_B, *kept, store_rows(done, sentences, beams)

        def stay():
            return tf.range(size), sentences, beams, done

        size = tf.size(open_B)
        count = tf.reduce_sum(tf.cast(open_B, tf.float32))
        enough = count <= COMPACT_BELOW * tf.cast(size, tf.float32)
        return tf.cond(enough, leave, stay)


def _join_slots(x_BWK):
    return tf.reshape(x_BWK, [-1, x_BWK.shape[1] * x_BWK.shape[2]])


def _any_rows(x):
    """Shape invariant: the leading dimension may shrink."""
    shape = tf.convert_to_tensor(x).shape
    return tf.TensorShape([None, *shape[1:]]) if shape.rank else shape

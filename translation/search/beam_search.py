"""Beam search (GNMT, Wu et al. 2016, section 7) for any step function.

B: sentences    W: beam width, slots of a sentence    N: rows of a step
V: vocabulary    K: tokens considered for each hypothesis    S: source length
L: longest output and the bos in front of it    n: translations wanted

The search knows no model. It steps through three things, each a nest of
tensors or a function of them:

    memory     what no step changes, such as an encoder's output
    state      what a step leaves for the next one
    step       (ids (N,) int32, state, memory) -> (scores (N, V), state),
               of the last token of each hypothesis, where `scores` are log
               probabilities or logits of the next one

*Beam.* Each sentence has W slots; at first one holds the empty hypothesis. A
step extends every open hypothesis of a sentence and keeps the W continuations
with the highest log probability. One that ends in eos is finished and keeps
its slot for good, so the beam narrows as hypotheses finish. A beam of 1 is
greedy search. At its maximum length a hypothesis can only end.

*Constraints.* A prefix, a minimum length and n-grams that must not repeat take
tokens away from a step, see `constraints.py`.

*Score.* Finished hypotheses are ranked by equation 14, see `beam_options.py`.

*Stop.* A sentence is done when it has no open hypothesis, and the search when
all sentences are. With `early_stop` a sentence also ends when n hypotheses
have finished and no open one can get into the best n any more:

    log P(open) / lp(maximum length) <= score of the n-th best finished

Log probabilities only fall, lp grows at most to that of the maximum length,
and cp is at most 0: no open hypothesis can end above the left side. So early
stop changes no result.

*Pruning.* With `prune` (GNMT's "beamsize", section 7) a step considers only
tokens whose log probability is at most `prune` below that of the best token
for the same hypothesis, and drops each open hypothesis whose log probability
over lp(its length) is more than `prune` below the best finished score.

A row of a step is an open hypothesis. N changes, and rows change places: what
depends on the sentence must come from the state or the memory, whose rows the
search keeps in order. Only core TensorFlow operations are used, so that any
server can run the search.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from translation.search.beam_options import (
    BeamOptions,
    SentenceOptions,
    coverage_penalty,
    length_penalty,
    same_for_all,
)
from translation.search.beam_rows import (
    from_slots,
    gather_rows,
    next_rows,
    parent_rows,
    rows_for,
    to_slots,
)
from translation.search.constraints import (
    NEVER,
    Constraints,
    constrain,
    constraints_of,
)
from translation.search.top_tokens import log_normalizer, top_tokens
from translation.text.special_ids import PAD_ID

# What a continuation becomes, in the order in which slots are filled.
_OPEN, _FINISHED, _ENDED, _GONE = range(4)


class Hypotheses(NamedTuple):
    """Translations of B sentences, n of each, best first.

    Where a sentence has fewer than n (a tiny vocabulary, or scores that are
    not finite), the rest has length 0 and `-inf` for its scores.
    """

    ids: Any  # (B, n, longest) int32, eos included, padded with 0
    scores: Any  # (B, n) float32, equation 14
    log_probs: Any  # (B, n) float32, log P(Y | X)
    lengths: Any  # (B, n) int32, eos included
    alignments: Any = None  # (B, n, longest, S) float32, on request


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
    sentence_options=None,
    prefix_ids=None,
    bos_id=1,
    eos_id=2,
    forbidden_ids=(0, 1),
):
    """Finds the best outputs of `step` for each sentence of a batch.

    Results of a sentence depend neither on the others nor on padding.

    Args:
        step: Function, see above; `step(ids, state)` without a memory.
        state: Nest of tensors with leading dimension B: the state before the
            first token, `()` if there is none.
        max_lengths: Tensor `(B,)` int32. Longest output, eos included.
        options: `BeamOptions`.
        memory: Nest of tensors with leading dimension B, or None. It is
            copied only when the layout of rows changes.
        alignment: Function `state -> (N, S)`, the attention of the last step.
            Coverage and alignments need it.
        source_mask: Tensor `(B, S)`, false on padding. Goes with `alignment`.
        return_alignments: bool. Whether the result has `alignments`.
        sentence_options: `SentenceOptions`, if they differ between sentences;
            they replace those of `options`, whose beam is the widest allowed.
        prefix_ids: Tensor `(B, P)` int32, how the outputs of each sentence
            begin, padded with 0, or None. It makes room for itself where it
            is longer than `max_lengths` allow.
        bos_id: int. The token that every output starts after.
        eos_id: int. The token that ends an output.
        forbidden_ids: Sequence of int. Tokens that are never chosen.

    Returns:
        `Hypotheses`.

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
    covering = options.coverage_penalty > 0 or sentence_options is not None
    attentive = covering or return_alignments
    if attentive:
        _check_attention(options, alignment, source_mask)
    _check_eos(eos_id, forbidden_ids)
    max_length_B = tf.maximum(tf.cast(max_lengths, tf.int32), 1)
    sentences = sentence_options or same_for_all(options, tf.size(max_length_B))
    constraints = None
    if options.has_constraints or sentence_options or prefix_ids is not None:
        constraints = constraints_of(sentences, prefix_ids)
        max_length_B = constraints.longest(max_length_B)
    search = _Search(
        step=step if memory is not None else lambda i, s, _: step(i, s),
        options=options,
        sentences=sentences,
        constraints=constraints,
        covering=covering,
        max_length=max_length_B,
        source_mask=source_mask if attentive else None,
        alignment=alignment,
        eos_id=eos_id,
        forbidden_ids=tuple(sorted(set(forbidden_ids))),
    )
    beams = search.first_beams(bos_id, return_alignments)
    beams = search.run(beams, state, () if memory is None else memory)
    return _best_hypotheses(beams, options.num_translations)


class Beams(NamedTuple):
    """The slots of all sentences.

    First the open hypotheses of a sentence, most probable first, then the
    finished ones in the order in which they finished, then empty slots.
    """

    ids: Any  # (B, W, L) int32, bos first
    log_prob: Any  # (B, W), -inf in empty slots
    score: Any  # (B, W), -inf until finished
    length: Any  # (B, W) int32, 0 until finished
    finished: Any  # (B, W) bool
    coverage: Any  # (B, W, S) attention received so far, or ()
    alignments: Any  # (B, W, L, S), or ()

    def is_open(self):
        """`(B, W)`: whether a slot holds a hypothesis that can go on."""
        return ~self.finished & (self.log_prob > NEVER)


@dataclasses.dataclass(frozen=True)
class _Search:
    """The loop and its steps, with what they share.

    `step` always takes a memory here; for the other functions and tensors
    see `beam_search`.
    """

    step: Callable
    options: BeamOptions
    sentences: SentenceOptions
    constraints: Constraints | None
    covering: bool  # whether there is a coverage penalty
    max_length: tf.Tensor  # (B,)
    source_mask: tf.Tensor | None  # (B, S), if attention is needed
    alignment: Callable
    eos_id: int
    forbidden_ids: tuple

    def first_beams(self, bos_id, keep_alignments):
        """One open hypothesis, bos, for each sentence."""
        size, width = tf.size(self.max_length), self.options.beam_width
        longest = tf.maximum(tf.reduce_max(self.max_length), 0) + 1
        first_L = tf.one_hot(0, longest, bos_id, PAD_ID, dtype=tf.int32)
        first_W = tf.one_hot(0, width, 0.0, NEVER)
        coverage = alignments = ()
        if self.source_mask is not None:
            length = tf.shape(self.source_mask)[1]
            coverage = tf.zeros([size, width, length])
            if keep_alignments:
                alignments = tf.zeros([size, width, longest, length])
        return Beams(
            ids=tf.tile(first_L[None, None], [size, width, 1]),
            log_prob=tf.tile(first_W[None], [size, 1]),
            score=tf.fill([size, width], NEVER),
            length=tf.zeros([size, width], tf.int32),
            finished=tf.zeros([size, width], tf.bool),
            coverage=coverage,
            alignments=alignments,
        )

    def run(self, beams, state, memory):
        """Steps until no hypothesis is open; returns the beams."""
        # Sentence numbers that only the running program can know. The graph
        # optimizer folds `tf.size` of N rows to a constant where it knows
        # the first N, although N changes in the loop.
        all_B = tf.cast(tf.where(self.max_length > 0)[:, 0], tf.int32)
        rows = rows_for(tf.ones_like(all_B))
        state, memory = gather_rows((state, memory), all_B)
        loop_vars = (tf.constant(0), rows, beams, state, memory)
        _, _, beams, _, _ = tf.while_loop(
            lambda time, rows, *_: tf.size(rows.sentence) > 0,
            self.advance,
            loop_vars,
            shape_invariants=tf.nest.map_structure(_any_rows, loop_vars),
        )
        return beams

    def advance(self, time, rows, beams, state, memory):
        """One step of the loop: one more token for each open hypothesis."""
        ids_N = from_slots(rows, beams.ids[:, :, time])
        scores_NV, stepped = self.step(ids_N, state, memory)
        tf.nest.assert_same_structure(state, stepped, check_types=False)
        if self.source_mask is not None:
            beams = self.attend(time, rows, beams, self.alignment(stepped))
        tokens = self.candidates(time, rows, beams.ids, scores_NV)
        beams, parent_BW = self.extend(time, beams, *tokens)
        beams = self.drop(time, beams)

        open_BW = tf.cast(beams.is_open(), tf.int32)
        fresh, memory = next_rows(rows, tf.reduce_sum(open_BW, axis=1), memory)
        row_N = parent_rows(fresh, rows, parent_BW)
        state = tf.nest.pack_sequence_as(
            state, gather_rows(tf.nest.flatten(stepped), row_N)
        )
        return time + 1, fresh, beams, state, memory

    def attend(self, time, rows, beams, alignment_NS):
        """Adds up the attention that each source position receives."""
        alignment_BWS = to_slots(
            rows,
            tf.cast(alignment_NS, tf.float32),
            self.options.beam_width,
            fill=0.0,
        )
        beams = beams._replace(coverage=beams.coverage + alignment_BWS)
        if isinstance(beams.alignments, tuple):
            return beams
        now_L1 = tf.range(tf.shape(beams.ids)[2])[:, tf.newaxis] == time + 1
        return beams._replace(
            alignments=tf.where(
                now_L1, alignment_BWS[:, :, tf.newaxis], beams.alignments
            )
        )

    def candidates(self, time, rows, ids_BWL, scores_NV):
        """Tokens and log probabilities `(B, W, K)` that may come next."""
        # Take the K best tokens of each open hypothesis, without those that
        # are forbidden or pruned, and make log probabilities of their scores.
        width, size = self.options.beam_width, scores_NV.shape[1]
        if size is None:
            raise ValueError(
                "`step` must return scores whose vocabulary size is known "
                "when the graph is built; use `tf.ensure_shape`. Received: "
                f"scores of shape {scores_NV.shape}"
            )
        scores_NV = tf.cast(scores_NV, tf.float32)
        # Enough that W remain when the forbidden ones are taken out.
        count = min(width + len(self.forbidden_ids), size)
        allowed_NV = self.allowed(time, rows, ids_BWL, scores_NV)
        best_NK, token_NK = top_tokens(allowed_NV, count)
        if allowed_NV is scores_NV:
            highest_N1 = best_NK[:, :1]
        else:
            highest_N1 = tf.reduce_max(scores_NV, axis=1, keepdims=True)
        normalizer_N = log_normalizer(scores_NV, highest_N1)
        for forbidden_id in self.forbidden_ids:
            best_NK = tf.where(token_NK == forbidden_id, NEVER, best_NK)
        if self.options.prune is not None:
            worst_N1 = tf.reduce_max(best_NK, 1, True) - self.options.prune
            best_NK = tf.where(best_NK >= worst_N1, best_NK, NEVER)

        # At its maximum length a hypothesis can only end.
        longest_N1 = tf.gather(self.max_length, rows.sentence)[:, tf.newaxis]
        is_last_N1 = time + 1 >= longest_N1
        eos_N1 = scores_NV[:, self.eos_id, tf.newaxis]
        only_eos_NK = tf.where(tf.range(count) == 0, eos_N1, NEVER)
        best_NK = tf.where(is_last_N1, only_eos_NK, best_NK)
        token_NK = tf.where(is_last_N1, self.eos_id, token_NK)

        # Nothing can follow where the scores are not finite. Rounding must
        # not lift a log probability above 0: `drop` relies on that.
        log_prob_NK = tf.minimum(best_NK - normalizer_N[:, tf.newaxis], 0.0)
        is_finite_N1 = tf.math.is_finite(normalizer_N)[:, tf.newaxis]
        log_prob_NK = tf.where(is_finite_N1, log_prob_NK, NEVER)
        return (
            to_slots(rows, token_NK, width, fill=PAD_ID),
            to_slots(rows, log_prob_NK, width, fill=NEVER),
        )

    def allowed(self, time, rows, ids_BWL, scores_NV):
        """The scores, without the tokens that constraints forbid."""
        if self.constraints is None:
            return scores_NV
        of_rows = gather_rows(self.constraints, rows.sentence)
        ids_NL = from_slots(rows, ids_BWL)
        return constrain(scores_NV, ids_NL, time, of_rows, self.eos_id)

    def extend(self, time, beams, token_BWK, log_prob_BWK):
        """Puts the most probable continuations into the slots.

        Returns:
            The new `Beams`, and the old slot `(B, W)` that each continues.
        """
        # Choose the best W of the W * K continuations of each sentence, and
        # put them into the slots that finished hypotheses leave free.
        width, count = token_BWK.shape[1:]
        total_BWK = tf.where(
            beams.is_open()[..., tf.newaxis],
            beams.log_prob[..., tf.newaxis] + log_prob_BWK,
            NEVER,
        )
        flat = [-1, width * count]
        best_BW, place_BW = tf.math.top_k(tf.reshape(total_BWK, flat), width)
        token_BW = tf.gather(
            tf.reshape(token_BWK, flat), place_BW, batch_dims=1
        )
        # Those that find a slot: finished hypotheses keep theirs.
        finished_B = tf.reduce_sum(tf.cast(beams.finished, tf.int32), axis=1)
        free_B = self.sentences.beam_width - finished_B
        has_slot_BW = tf.range(width) < free_B[:, tf.newaxis]
        kind_BW = tf.where(token_BW == self.eos_id, _ENDED, _OPEN)
        kind_BW = tf.where(has_slot_BW & (best_BW > NEVER), kind_BW, _GONE)

        # Beside them what is in the slots now; then a stable sort by kind.
        old_kind_BW = tf.where(beams.finished, _FINISHED, _GONE)
        slot_BW = tf.range(width) + tf.zeros_like(place_BW)
        found = (
            tf.concat([kind_BW, old_kind_BW], 1),
            tf.concat([place_BW // count, slot_BW], 1),
            tf.concat([token_BW, tf.fill(tf.shape(token_BW), PAD_ID)], 1),
            tf.concat([best_BW, beams.log_prob], 1),
        )
        _, order_BW = tf.math.top_k(-found[0], width)
        kind_BW, parent_BW, token_BW, log_prob_BW = gather_rows(
            found, order_BW, batch_dims=1
        )
        beams = gather_rows(beams, parent_BW, batch_dims=1)
        log_prob_BW = tf.where(kind_BW == _GONE, NEVER, log_prob_BW)
        beams = self.fill(time, beams, kind_BW, token_BW, log_prob_BW)
        return beams, parent_BW

    def fill(self, time, beams, kind_BW, token_BW, log_prob_BW):
        """Writes new tokens and scores into slots that hold their parents."""
        now_L = tf.range(tf.shape(beams.ids)[2]) == time + 1
        ended_BW = kind_BW == _ENDED
        kept_BW = kind_BW == _FINISHED
        score_BW = self.score(time + 1, log_prob_BW, beams.coverage)
        old_score_BW = tf.where(kept_BW, beams.score, NEVER)
        old_length_BW = tf.where(kept_BW, beams.length, 0)
        return beams._replace(
            ids=tf.where(now_L, token_BW[..., tf.newaxis], beams.ids),
            log_prob=log_prob_BW,
            score=tf.where(ended_BW, score_BW, old_score_BW),
            length=tf.where(ended_BW, time + 1, old_length_BW),
            finished=ended_BW | kept_BW,
        )

    def score(self, length, log_prob_BW, coverage_BWS):
        """Equation 14, for hypotheses that end here."""
        alpha_B1 = self.sentences.length_penalty[:, tf.newaxis]
        score_BW = log_prob_BW / length_penalty(length, alpha_B1)
        if self.covering:
            mask_B1S = self.source_mask[:, tf.newaxis]
            beta_B1 = self.sentences.coverage_penalty[:, tf.newaxis]
            score_BW += coverage_penalty(coverage_BWS, mask_B1S, beta_B1)
        return tf.where(tf.math.is_nan(score_BW), NEVER, score_BW)

    def drop(self, time, beams):
        """Drops open hypotheses: early stop and pruning, see above.

        Early stop drops all open hypotheses of a sentence or none. To drop
        the hopeless ones alone would leave their slots to others, and so
        widen the beam.
        """
        options = self.options
        alpha_B = self.sentences.length_penalty
        wanted_B = tf.minimum(
            self.sentences.beam_width, options.num_translations
        )
        best_Bn, _ = tf.math.top_k(beams.score, options.num_translations)
        last_B = tf.gather(best_Bn, wanted_B - 1, batch_dims=1)
        gone_BW = tf.zeros_like(beams.finished)
        if options.early_stop:
            best_open_B = tf.where(
                beams.finished[:, 0], NEVER, beams.log_prob[:, 0]
            )
            bound_B = best_open_B / length_penalty(self.max_length, alpha_B)
            gone_BW |= (bound_B <= last_B)[:, tf.newaxis]
        if options.prune is not None:
            score_BW = beams.log_prob / length_penalty(
                time + 1, alpha_B[:, tf.newaxis]
            )
            gone_BW |= score_BW < best_Bn[:, :1] - options.prune
        gone_BW &= ~beams.finished
        return beams._replace(log_prob=tf.where(gone_BW, NEVER, beams.log_prob))


def _best_hypotheses(beams, count):
    """The `count` finished hypotheses with the highest scores."""
    _, best_Bn = tf.math.top_k(beams.score, count)
    beams = gather_rows(beams, best_Bn, batch_dims=1)
    longest = tf.maximum(tf.reduce_max(beams.length), 0)
    ids_BnL = beams.ids[:, :, 1 : longest + 1]
    real_BnL = tf.sequence_mask(beams.length, longest)
    alignments = None
    if not isinstance(beams.alignments, tuple):
        alignments = beams.alignments[:, :, 1 : longest + 1]
        alignments = tf.where(real_BnL[..., None], alignments, 0.0)
    return Hypotheses(
        ids=tf.where(real_BnL, ids_BnL, PAD_ID),
        scores=beams.score,
        log_probs=tf.where(beams.finished, beams.log_prob, NEVER),
        lengths=beams.length,
        alignments=alignments,
    )


def _any_rows(x):
    """Shape invariant: the leading dimension may change."""
    return tf.TensorShape([None, *x.shape[1:]]) if x.shape.rank else x.shape


def _check_attention(options, alignment, source_mask):
    if alignment is None or source_mask is None:
        raise ValueError(
            "A coverage penalty, alignments and `sentence_options` need "
            "`alignment` and `source_mask`: pass both, or use "
            "BeamOptions(coverage_penalty=0). Received: coverage_penalty="
            f"{options.coverage_penalty}, alignment={alignment}, "
            f"source_mask={source_mask}"
        )


def _check_eos(eos_id, forbidden_ids):
    if eos_id in forbidden_ids:
        raise ValueError(
            "`forbidden_ids` must not hold `eos_id`, or no output could end. "
            f"Received: forbidden_ids={forbidden_ids}, eos_id={eos_id}"
        )

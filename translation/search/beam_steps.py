"""The loop of a beam search: a step, and what becomes of the slots.

B: sentences    W: beam width, slots of a sentence    N: rows of a step
V: vocabulary    K: tokens looked at for each hypothesis
S: source length    L: longest output and the bos in front of it

A step extends the open hypotheses of a sentence and keeps the most probable
in its W slots; one that ends in eos keeps a slot for good, so that the beam
narrows as hypotheses finish.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from translation.search.beam_options import (
    BeamOptions,
    Wishes,
    coverage_penalty,
    length_penalty,
)
from translation.search.beam_rows import (
    from_slots,
    next_rows,
    parent_rows,
    rows_for,
    to_slots,
)
from translation.search.beams import NEVER, PAD_ID, gather_rows, open_slots
from translation.search.best_tokens import best_tokens

# What may become of a hypothesis, in the order in which slots are filled.
OPEN, FINISHED, ENDED, GONE = range(4)


@dataclasses.dataclass(frozen=True)
class Search:
    """The parts of the loop, and what they share.

    `step` takes a memory here in any case; for the other functions and
    tensors see `beam_search`.
    """

    step: Callable
    options: BeamOptions
    wishes: Wishes
    covering: bool  # whether there is a coverage penalty
    max_length: tf.Tensor  # (B,)
    source_mask: tf.Tensor | None  # (B, S), if attention is needed
    alignment: Callable
    eos_id: int
    forbidden_ids: tuple

    def run(self, beams, state, memory):
        """Steps until nothing is open; returns the beams."""
        # All sentences, which only the running program can know: the graph
        # optimizer folds `tf.size` of N rows to a constant where it knows
        # the N of the start, although N changes in the loop.
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
        """One step of the loop: a token more for each open hypothesis."""
        ids_N = from_slots(rows, beams.ids[:, :, time])
        scores_NV, stepped = self.step(ids_N, state, memory)
        tf.nest.assert_same_structure(state, stepped, check_types=False)
        if self.source_mask is not None:
            beams = self.attend(time, rows, beams, self.alignment(stepped))
        tokens = self.candidates(time, rows, scores_NV)
        beams, parent_BW = self.extend(time, beams, *tokens)
        beams = self.give_up(time, beams)

        open_BW = tf.cast(open_slots(beams), tf.int32)
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

    def candidates(self, time, rows, scores_NV):
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
        if self.options.prune is not None:
            worst_N1 = tf.reduce_max(best_NK, 1, True) - self.options.prune
            best_NK = tf.where(best_NK >= worst_N1, best_NK, NEVER)

        longest_N1 = tf.gather(self.max_length, rows.sentence)[:, tf.newaxis]
        is_last_N1 = time + 1 >= longest_N1
        eos_N1 = tf.cast(scores_NV[:, self.eos_id, tf.newaxis], tf.float32)
        only_eos_NK = tf.where(tf.range(count) == 0, eos_N1, NEVER)
        best_NK = tf.where(is_last_N1, only_eos_NK, best_NK)
        token_NK = tf.where(is_last_N1, self.eos_id, token_NK)

        # Nothing can follow where the scores are not finite. Rounding must
        # not lift a log probability above 0: `give_up` relies on that.
        log_prob_NK = tf.minimum(best_NK - normalizer_N[:, tf.newaxis], 0.0)
        is_finite_N1 = tf.math.is_finite(normalizer_N)[:, tf.newaxis]
        log_prob_NK = tf.where(is_finite_N1, log_prob_NK, NEVER)
        return (
            to_slots(rows, token_NK, width, fill=PAD_ID),
            to_slots(rows, log_prob_NK, width, fill=NEVER),
        )

    def extend(self, time, beams, token_BWK, log_prob_BWK):
        """The most probable continuations, in slots; what each continues."""
        width, count = token_BWK.shape[1:]
        total_BWK = tf.where(
            open_slots(beams)[..., tf.newaxis],
            beams.log_prob[..., tf.newaxis] + log_prob_BWK,
            NEVER,
        )
        flat = [-1, width * count]
        best_BW, place_BW = tf.math.top_k(tf.reshape(total_BWK, flat), width)
        token_BW = tf.gather(
            tf.reshape(token_BWK, flat), place_BW, batch_dims=1
        )
        finished_B = tf.reduce_sum(tf.cast(beams.finished, tf.int32), axis=1)
        free_B = self.wishes.beam_width - finished_B
        has_slot_BW = tf.range(width) < free_B[:, tf.newaxis]
        kind_BW = tf.where(token_BW == self.eos_id, ENDED, OPEN)
        kind_BW = tf.where(has_slot_BW & (best_BW > NEVER), kind_BW, GONE)

        # Beside them, what is in the slots now; then a stable sort by kind.
        old_kind_BW = tf.where(beams.finished, FINISHED, GONE)
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
        log_prob_BW = tf.where(kind_BW == GONE, NEVER, log_prob_BW)
        beams = self.fill(time, beams, kind_BW, token_BW, log_prob_BW)
        return beams, parent_BW

    def fill(self, time, beams, kind_BW, token_BW, log_prob_BW):
        """Writes what is new into slots that hold their parents."""
        now_L = tf.range(tf.shape(beams.ids)[2]) == time + 1
        ended_BW = kind_BW == ENDED
        kept_BW = kind_BW == FINISHED
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
        alpha_B1 = self.wishes.length_penalty[:, tf.newaxis]
        score_BW = log_prob_BW / length_penalty(length, alpha_B1)
        if self.covering:
            mask_B1S = self.source_mask[:, tf.newaxis]
            beta_B1 = self.wishes.coverage_penalty[:, tf.newaxis]
            score_BW += coverage_penalty(coverage_BWS, mask_B1S, beta_B1)
        return tf.where(tf.math.is_nan(score_BW), NEVER, score_BW)

    def give_up(self, time, beams):
        """Drops open hypotheses where none can win, and what is pruned.

        Log probabilities only fall, lp only grows up to the maximum length
        and cp is at most 0: no hypothesis can end above its log probability
        over lp(maximum length). A hopeless one stays while there is hope for
        another, lest the beam be wider than without early stop.
        """
        options = self.options
        alpha_B = self.wishes.length_penalty
        wanted_B = tf.minimum(self.wishes.beam_width, options.num_translations)
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


def _any_rows(x):
    """Shape invariant: the leading dimension may change."""
    return tf.TensorShape([None, *x.shape[1:]]) if x.shape.rank else x.shape

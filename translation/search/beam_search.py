"""Beam search (GNMT, Wu et al. 2016, section 7) for any step function.

B: sentences    W: beam width, slots of a sentence    N: rows of a step
V: vocabulary    S: source length

Every sentence has W slots. A step extends its open hypotheses and keeps the
most probable, see `beam_steps.py` (a beam of 1 is greedy search). What has
finished is ranked by equation 14, see `beam_options.py`. Only core TensorFlow
operations are used, so that any server can run the search.

The search knows no model. What it steps through are three things, each a nest
of tensors or a function of them:

    memory     what no step changes, such as an encoder's output
    state      what a step leaves for the next one
    step       (ids (N,) int32, state, memory) -> (scores (N, V), state),
               of the last token of each hypothesis, where `scores` are log
               probabilities or logits of the next one

A row of a step is a hypothesis that is still open. N changes, and rows change
places: what depends on the sentence has to come from the state or the memory,
whose rows the search keeps in order.
"""

import tensorflow as tf

from translation.search.beam_options import BeamOptions, same_for_all
from translation.search.beam_steps import Search
from translation.search.beams import best_hypotheses, first_beams


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
    wishes=None,
    bos_id=1,
    eos_id=2,
    forbidden_ids=(0, 1),
):
    """Finds the best outputs of `step` for each sentence of a batch.

    Results of a sentence depend neither on the others nor on padding. An
    output that reaches its maximum length can only be continued by eos.

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
        wishes: `Wishes`, where sentences differ in beam width and penalties;
            those of `options` are not looked at then, but that no beam is
            wider than theirs.
        bos_id: int. The token that every output starts after.
        eos_id: int. The token that ends an output.
        forbidden_ids: Sequence of int. Tokens that are never chosen.

    Returns:
        `translation.search.beams.Hypotheses`.

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
    covering = options.coverage_penalty > 0 or wishes is not None
    attentive = covering or return_alignments
    if attentive:
        _check_attention(options, alignment, source_mask)
    _check_eos(eos_id, forbidden_ids)
    max_length_B = tf.maximum(tf.cast(max_lengths, tf.int32), 1)
    search = Search(
        step=step if memory is not None else lambda i, s, _: step(i, s),
        options=options,
        wishes=wishes or same_for_all(options, tf.size(max_length_B)),
        covering=covering,
        max_length=max_length_B,
        source_mask=source_mask if attentive else None,
        alignment=alignment,
        eos_id=eos_id,
        forbidden_ids=tuple(sorted(set(forbidden_ids))),
    )
    beams = first_beams(
        search.max_length,
        search.source_mask,
        options.beam_width,
        bos_id,
        return_alignments,
    )
    beams = search.run(beams, state, () if memory is None else memory)
    return best_hypotheses(beams, options.num_translations)


def _check_attention(options, alignment, source_mask):
    if alignment is None or source_mask is None:
        raise ValueError(
            "A coverage penalty, alignments and wishes need `alignment` and "
            "`source_mask`: pass both, or use "
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

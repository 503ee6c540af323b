"""What a language model loses without one of its experts, by label.

That an expert is sent the tokens of a label does not say that it is needed
there. Here the output of one expert after the other is set to zero, and the
lines of every label are read again: the likelihood that is lost on its own
label, and on the others, is what the expert does.

L: labels    E: experts
"""

import contextlib
import dataclasses
import json

import numpy as np

from moe_keras.monitoring import routing_layers
from trainers.language_model.evaluation import LineLikelihoods
from trainers.language_model.expert_study import open_studied, route_lines

_FILES = ("masked_experts.json", "masked_experts.md")


@dataclasses.dataclass(frozen=True)
class MaskedExpert:
    """What it costs to do without an expert.

    Costs are nats for each token of the lines of some labels, its end mark
    counted; above zero the model is worse without the expert.

    Attributes:
        layer: str.
        expert: int.
        label: str. Its own: the one of which it is sent most beyond its share.
        fraction: float. Of the expert's choices, those in lines of the label.
        share: float. The same of the choices of all experts: what chance
            gives.
        own: float. Cost on the lines of the label.
        others: float. Cost on the lines of all other labels.
        chance: float. Mean cost on the lines of the label of the other experts
            that were masked.
    """

    layer: str
    expert: int
    label: str
    fraction: float
    share: float
    own: float
    others: float
    chance: float


def study_masked(model_dir, number, test=None, labels=None, log=print):
    """Masks the most specialised experts of each layer, one at a time.

    Args:
        model_dir: str or path of a folder with a trained model. Gets
            `masked_experts.json` and `masked_experts.md`.
        number: int. Experts of each layer, at least 2.
        test: str or None. A corpus; None takes that of the configuration.
        labels: str. File with a label for each line.
        log: Function of one line of text.

    Returns:
        List of `MaskedExpert`.

    Raises:
        CorpusError: if the corpus or the labels cannot be used.
        FolderError, CheckpointError: if there is no such model.
        ValueError: if the model has no MoE layer, or as `check_masked`.
    """
    check_masked(number, labels)
    read = open_studied(model_dir, test, labels)
    model, vocabulary, lines = read.model, read.vocabulary, read.lines
    log(f"Masking {number} experts of each layer on {len(lines):,} lines ...")
    routed = route_lines(model, vocabulary, lines, read.label_of)
    likelihoods = LineLikelihoods(
        model, vocabulary, read.config.batches, goes_on=False
    )
    found = []
    for layer in routing_layers(model):
        chosen = specialised(routed[layer.name], number)
        found += _mask_each(
            layer, chosen, lines, read.label_of, likelihoods, log
        )
    rows = [dataclasses.asdict(expert) for expert in found]
    texts = (json.dumps(rows, indent=1), as_markdown(found, read.corpus))
    for name, text in zip(_FILES, texts, strict=True):
        (read.folder.path / name).write_text(text + "\n")
        log(f"Wrote {read.folder.path / name}")
    return found


def check_masked(number, labels):
    """Refuses what experts cannot be masked with, before any work.

    Raises:
        ValueError: If `labels` is None, or `number` is below 2: there would be
            no other expert to compare with.
    """
    if labels is None:
        raise ValueError(
            "Masked experts are told by labels: give a file with a label for "
            "each line, --labels=FILE."
        )
    if number < 2:
        raise ValueError(
            "Each masked expert is compared with others: mask at least 2. "
            f"Received: --masked={number}"
        )


def specialised(routed, number):
    """The experts that have most choices of one label beyond its share.

    Args:
        routed: `RoutedTokens` with labels.
        number: int. How many.

    Returns:
        List of tuples: expert, its label, the fraction of its choices in lines
        of the label, and the share of the label in the choices of all.

    Example:

    >>> from moe_keras.analysis import RoutedTokens
    >>> routed = RoutedTokens(num_experts=2)
    >>> routed.add(["a", "b"], [[0], [0]], [[1.0], [1.0]], label="prose")
    >>> routed.add(["a", "b"], [[1], [1]], [[1.0], [1.0]], label="code")
    >>> specialised(routed, 1)
    [(0, 'prose', 1.0, 0.5)]
    """
    choices = routed.choices()
    label_N = routed.label.ids()[routed.sentence()]
    names = routed.label.names
    counts_EL = np.zeros((routed.num_experts, len(names)))
    np.add.at(counts_EL, (choices.expert, label_N[choices.token]), 1)
    share_L = counts_EL.sum(0) / counts_EL.sum()
    load_E1 = counts_EL.sum(1, keepdims=True)
    beyond_EL = counts_EL - load_E1 * share_L
    label_E = beyond_EL.argmax(1)
    order = np.argsort(-beyond_EL.max(1), kind="stable")[:number]
    return [
        (
            int(expert),
            names[label_E[expert]],
            float(counts_EL[expert, label_E[expert]] / load_E1[expert, 0]),
            float(share_L[label_E[expert]]),
        )
        for expert in order
        if load_E1[expert, 0]
    ]


@contextlib.contextmanager
def masked(layer, expert):
    """Context manager: one expert of a layer gives zeros.

    Args:
        layer: `SparseMoE` with `FeedForwardExperts` or others that have an
            expert weight `kernel_out`.
        expert: int.

    Raises:
        ValueError: If the experts have no such weight.
    """
    weights = getattr(layer.experts, "expert_weights", {})
    if "kernel_out" not in weights:
        raise ValueError(
            f"Experts of {layer.name} cannot be masked: they have no weight "
            f"`kernel_out`. Received: {type(layer.experts).__name__}"
        )
    last = [weights[n] for n in ("kernel_out", "bias_out") if n in weights]
    kept = [weight.numpy() for weight in last]
    try:
        for weight, values in zip(last, kept, strict=True):
            values = values.copy()
            values[expert] = 0
            weight.assign(values)
        yield
    finally:
        for weight, values in zip(last, kept, strict=True):
            weight.assign(values)


def _mask_each(layer, chosen, lines, label_of, likelihoods, log):
    """The `MaskedExpert` of each of the chosen experts of a layer."""
    names = sorted(set(label_of))
    line_label = np.array([names.index(label) for label in label_of])

    def totals():
        """Nats and tokens of the lines of each label, arrays `(L,)`."""
        nats, tokens = np.zeros(len(names)), np.zeros(len(names))
        for label, nll in zip(line_label, likelihoods(lines), strict=True):
            nats[label] += nll.sum()
            tokens[label] += len(nll)
        return nats, tokens

    whole_L, tokens_L = totals()
    lost_XL = []
    for number, (expert, *_) in enumerate(chosen, 1):
        with masked(layer, expert):
            lost_XL.append(totals()[0] - whole_L)
        log(f"{layer.name}: {number} of {len(chosen)} experts masked")
    lost_XL = np.array(lost_XL)
    found = []
    for row, (expert, label, fraction, share) in enumerate(chosen):
        own = names.index(label)
        is_other_L = np.arange(len(names)) != own
        elsewhere = max(tokens_L[is_other_L].sum(), 1)
        found.append(
            MaskedExpert(
                layer.name,
                expert,
                label,
                fraction,
                share,
                own=float(lost_XL[row, own] / tokens_L[own]),
                others=float(lost_XL[row, is_other_L].sum() / elsewhere),
                chance=float(
                    np.delete(lost_XL[:, own], row).mean() / tokens_L[own]
                ),
            )
        )
    return found


def as_markdown(found, corpus):
    """A table of masked experts.

    Args:
        found: List of `MaskedExpert`.
        corpus: str. Name of what was read.

    Returns:
        str.
    """
    lines = [
        f"# Masked experts on {corpus}",
        "",
        "Nats for each token that are lost when an expert gives zeros: on the "
        "lines of its own label, on those of all others, and on those of its "
        "label when another of these experts is masked instead.",
        "",
        "| layer | expert | own label | of its choices | of all choices | "
        "lost on its label | on the others | by another expert |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {x.layer} | {x.expert} | {x.label} | {x.fraction:.1%} | "
        f"{x.share:.1%} | {x.own:.4f} | {x.others:.4f} | {x.chance:.4f} |"
        for x in found
    ]
    return "\n".join(lines)

"""Studies what the experts of one layer have learnt."""

import dataclasses

import numpy as np

from moe_keras.analysis.information import (
    Factor,
    Information,
    entropy,
    measure_information,
)
from moe_keras.analysis.profiles import (
    Context,
    ExpertProfile,
    Extent,
    TokenRoute,
    TokenUse,
    contexts,
    routes,
    token_uses,
)
from moe_keras.analysis.routed_tokens import RoutedTokens


@dataclasses.dataclass(frozen=True)
class LayerStudy:
    """One MoE layer over a corpus.

    Attributes:
        layer: str.
        num_experts: int.
        sentences: int.
        tokens: int.
        without_expert: int. Tokens that no expert took.
        mean_k: float. Experts of a token.
        first_gate: float. Mean fraction of a token's gates that its best
            expert has: 1 where the others do not matter.
        entropy: float. Entropy of the expert of a choice, in bits; log2 E
            where all experts have the same load.
        possible: float. Bits of the entropy that the token at its place in
            its sentence decides: all but the choice between its own experts.
        shuffles: int. Number of shuffles of each baseline.
        information: Tuple of `Information`.
        experts: Tuple of `ExpertProfile`.
        routes: Tuple of `TokenRoute`.
    """

    layer: str
    num_experts: int
    sentences: int
    tokens: int
    without_expert: int
    mean_k: float
    first_gate: float
    entropy: float
    possible: float
    shuffles: int
    information: tuple
    experts: tuple
    routes: tuple

    @classmethod
    def from_dict(cls, values):
        """Makes a study of `dataclasses.asdict(study)`, also after JSON."""
        values = dict(values)
        values["information"] = tuple(
            Information(**v) for v in values["information"]
        )
        values["routes"] = tuple(
            TokenRoute(**{**v, "shares": tuple(v["shares"])})
            for v in values["routes"]
        )
        values["experts"] = tuple(
            ExpertProfile(
                **{
                    **v,
                    "tokens": tuple(TokenUse(**t) for t in v["tokens"]),
                    "contexts": tuple(Context(**c) for c in v["contexts"]),
                }
            )
            for v in values["experts"]
        )
        return cls(**values)


def study_layer(
    layer: str,
    routed: RoutedTokens,
    extent: Extent | None = None,
    shuffles: int = 20,
    seed: int = 0,
) -> LayerStudy:
    """Studies where one layer sent the tokens of a corpus.

    Each choice counts once: a token with k experts is k choices. It measures
    what the expert of a choice tells of the token, of each factor and of what
    is known of the sentence, such as its label; and of all but the token once
    the token is known, because a token has favourite places and labels.

    Args:
        layer: str. Name of the layer.
        routed: `RoutedTokens`.
        extent: `Extent`, or None for the default.
        shuffles: int. How often to shuffle for each baseline.
        seed: int. Seed of the shuffles.

    Returns:
        `LayerStudy`.

    Raises:
        ValueError: If there are no choices, or `shuffles` is below 2.

    Example:

    >>> from moe_keras.analysis import RoutedTokens
    >>> routed = RoutedTokens(num_experts=2)
    >>> for _ in range(50):  # articles to expert 0, nouns to expert 1
    ...     routed.add(["a", "dog"], [[0], [1]], [[1.0], [1.0]])
    >>> study = study_layer("moe", routed)
    >>> study.information[0].name, study.information[0].bits
    ('token', 1.0)
    >>> study.experts[1].tokens[0].token
    'dog'
    """
    choices, extent = routed.choices(), extent or Extent()
    if not len(choices.token):
        raise ValueError(
            "`routed` must hold a token that went to an expert. Received: "
            f"{len(routed.token.ids())} tokens and no choices"
        )
    k_N = np.bincount(choices.token, minlength=len(routed.token.ids()))
    # A choice between the k experts of a token is log2 k bits.
    among_own = np.log2(k_N[choices.token]).mean()
    possible = max(entropy(choices.expert) - among_own, 0.0)
    information, speciality = _all_information(
        routed, choices, shuffles, seed, possible
    )
    return LayerStudy(
        layer=layer,
        num_experts=routed.num_experts,
        sentences=routed.num_sentences,
        tokens=len(k_N),
        without_expert=int((k_N == 0).sum()),
        mean_k=float(k_N.mean()),
        first_gate=_first_gate(choices),
        entropy=entropy(choices.expert),
        possible=float(possible),
        shuffles=shuffles,
        information=tuple(information),
        experts=tuple(_profiles(routed, choices, speciality, extent)),
        routes=tuple(routes(routed, extent)),
    )


def _first_gate(choices):
    sum_N = np.bincount(choices.token, choices.gate)
    best_N = np.zeros_like(sum_N)
    np.maximum.at(best_N, choices.token, choices.gate)
    weighed = sum_N > 0
    return float((best_N[weighed] / sum_N[weighed]).mean())


def _all_information(routed, choices, shuffles, seed, possible):
    """Measures all `Information`, and the speciality of each expert."""

    def information_of(factor):
        return measure_information(
            choices.expert, factor, shuffles, seed, possible
        )

    token_N = routed.token.ids()
    of_token, speciality = information_of(
        Factor("token", token_N, choices.token)
    )
    factors = list(_factors(routed, choices))
    for factor in factors[:]:
        of_tokens = factor.unit is choices.token
        factors.append(
            factor._replace(
                given_name="token",
                given=token_N[choices.token],
                within=token_N if of_tokens else None,
            )
        )
    others = [information_of(factor)[0] for factor in factors]
    return [of_token, *others], speciality


def _factors(routed, choices):
    """Yields factors of tokens, and those of sentences, shuffled by these."""
    for name, column in routed.factors.items():
        yield Factor(name, column.ids(), choices.token)
    of_sentences = dict(routed.of_sentences)
    if routed.label is not None:
        of_sentences["label"] = routed.label
    sentence_A = routed.sentence()[choices.token]
    for name, column in of_sentences.items():
        yield Factor(name, column.ids(), sentence_A)


def _profiles(routed, choices, speciality, extent):
    num_experts = routed.num_experts
    load_E = np.bincount(choices.expert, minlength=num_experts)
    importance_E = np.bincount(
        choices.expert, choices.gate, minlength=num_experts
    )
    tokens, places = token_uses(routed, extent), contexts(routed, extent)
    for expert in range(num_experts):
        yield ExpertProfile(
            expert=expert,
            load=float(load_E[expert] / load_E.sum()),
            importance=float(
                importance_E[expert] / max(importance_E.sum(), 1e-30)
            ),
            speciality=float(speciality[expert]) if load_E[expert] else None,
            tokens=tokens[expert],
            contexts=places[expert],
        )

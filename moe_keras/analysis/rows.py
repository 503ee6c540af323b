"""Turns a study into rows of plain text for any kind of table."""

INFORMATION_HEADS = (
    "the expert tells of",
    "bits",
    "shuffled, mean ± spread",
    "beyond chance",
    "of all there is",
    "seen",
)
EXPERT_HEADS = ("expert", "load", "importance", "speciality", "tokens")
ROUTE_HEADS = ("token", "times", "goes to")
EXPERT_NOTE = (
    "Experts, the most special first: bits that a choice of the expert tells "
    "of the token, chance taken off. Tokens with their mean gate and the share "
    "of them that came."
)
_SHOWN_SHARES = 4  # experts of a token


def summary(study):
    """Describes the layer as a whole in a sentence or two."""
    without = ""
    if study.without_expert:
        without = f", {study.without_expert:,} of them without an expert"
    return (
        f"{study.tokens:,} tokens in {study.sentences:,} sentences{without}; "
        f"{study.mean_k:.2f} of {study.num_experts} experts for each, the best "
        f"of which has {100 * study.first_gate:.1f} % of the gates. The "
        f"expert of a choice has an entropy of {study.entropy:.3f} bits, "
        f"{study.possible:.3f} of which are settled by the token in its place; "
        "the rest is which of its own experts the choice is."
    )


def baseline_note(study):
    """Explains the columns of `information_rows`."""
    return (
        "Baselines: mean and spread (standard deviation) of "
        f"{study.shuffles} shuffles. Seen: more than any of these showed. Of "
        "all there is: of the bits settled by the token in its place."
    )


def information_rows(study):
    """Makes a row for each thing that the expert may tell of."""
    return [
        (
            found.name
            if found.given is None
            else f"{found.name}, {found.given} known",
            f"{found.bits:.4f}",
            f"{found.shuffled_mean:.4f} ± {found.shuffled_spread:.4f}",
            f"{found.corrected:.4f}",
            f"{100 * found.share:.1f} %",
            "yes" if found.is_seen else "no",
        )
        for found in study.information
    ]


def expert_rows(study):
    """Makes a row for each expert, the most special first."""
    return [
        (
            str(profile.expert),
            _percent(profile.load),
            _percent(profile.importance),
            "-" if profile.speciality is None else f"{profile.speciality:.3f}",
            "  ".join(
                f"{use.token} {use.gate:.2f} ({_percent(use.share)})"
                for use in profile.tokens
            ),
        )
        for profile in by_speciality(study)
    ]


def route_rows(study):
    """Makes a row for each of the most frequent tokens."""
    rows = []
    for route in study.routes:
        order = sorted(range(study.num_experts), key=lambda e: -route.shares[e])
        shown = [e for e in order[:_SHOWN_SHARES] if route.shares[e] > 0]
        goes = ", ".join(f"{e} ({_percent(route.shares[e])})" for e in shown)
        rows.append((route.token, f"{route.count:,}", goes))
    return rows


def by_speciality(study):
    """Sorts the experts: the most special first, those without tokens last."""
    return sorted(
        study.experts,
        key=lambda p: float("inf") if p.speciality is None else -p.speciality,
    )


def _percent(fraction):
    return f"{100 * fraction:.0f} %"

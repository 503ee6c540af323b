"""The target languages that are asked for, as the tokens that stand for them.

A model of several target languages reads, in front of each source, a token
that says into which (Johnson et al. 2017, arXiv:1611.04558). It is a control
piece of the vocabulary, `<2fr>` for French, which no text can spell.
"""


def target_ids(tokenizer, targets, count):
    """Ids of the tokens that go in front of sources.

    Args:
        tokenizer: `Tokenizer`, whose `targets` are ids by language.
        targets: str, one language for all sources; list of str, one for each;
            or None, for a tokenizer without target tokens.
        count: int. How many sources there are.

    Returns:
        List of `count` int, or None for a tokenizer without target tokens.

    Raises:
        ValueError: if a language is missing, unknown or asked of a model that
            has none to choose, or if there are not as many as sources.

    Example:

    >>> import types
    >>> tokenizer = types.SimpleNamespace(targets={"fr": 300, "de": 301})
    >>> target_ids(tokenizer, ["de", "fr"], 2)
    [301, 300]
    >>> target_ids(tokenizer, "de", 3)
    [301, 301, 301]
    """
    known = tokenizer.targets
    if not known:
        if targets is not None:
            raise ValueError(
                "`targets` is for models of several target languages, and "
                "this one has a single one: leave it out. Received: "
                f"targets={targets!r}"
            )
        return None
    if targets is None:
        raise ValueError(
            "`targets` must say into which language, for this model writes "
            f"{', '.join(known)}. Received: targets=None"
        )
    wanted = [targets] * count if isinstance(targets, str) else list(targets)
    if len(wanted) != count:
        raise ValueError(
            "`targets` must be one language, or one for each text. Received: "
            f"{len(wanted)} for {count} texts"
        )
    for target in wanted:
        if target not in known:
            raise ValueError(
                f"`targets` must be of {', '.join(known)}, which this model "
                f"writes. Received: {target!r}"
            )
    return [known[target] for target in wanted]

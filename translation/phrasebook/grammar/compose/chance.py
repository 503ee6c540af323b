"""Drawing from chance: every draw is from `rng`, a `random.Random`."""


def chance(rng, probability):
    """True with this probability."""
    return rng.random() < probability


def pick(rng, options):
    """One of a sequence, all alike in chance."""
    return options[int(rng.random() * len(options))]


def weighted(*options):
    """A tuple to `pick` from, of `(option, times)`.

    >>> weighted(("often", 3), ("rarely", 1))
    ('often', 'often', 'often', 'rarely')
    """
    return tuple(option for option, times in options for _ in range(times))

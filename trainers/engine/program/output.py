"""Writes lines for other programs to read, as soon as there are any."""

import sys


def write_groups(function, groups):
    """Write what comes out for each group of lines before the next is read.

    Args:
        function: Function of a list of items that returns a list of str.
        groups: Iterable of such lists.
    """
    for group in groups:
        lines = "".join(f"{line}\n" for line in function(group))
        sys.stdout.buffer.write(lines.encode())
        sys.stdout.buffer.flush()

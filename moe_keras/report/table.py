"""Writes tables of the page."""

import html


def table(heads, rows, name, numbers=False):
    """Writes a table as HTML; where it is too wide, it scrolls by itself.

    Args:
        heads: List of str, plain text.
        rows: List of rows, each a list of str, HTML.
        name: str. What it is a table of, for screen readers.
        numbers: bool. Whether all columns but the first hold numbers.

    Returns:
        str.

    Example:

    >>> print(table(["a < b"], [["<b>yes</b>"]], "answers"))
    <div class="scroll" role="region" tabindex="0" aria-label="answers">
    <table>
    <tr><th scope="col">a &lt; b</th></tr>
    <tr><td><b>yes</b></td></tr>
    </table>
    </div>
    """
    kind = ' class="number"' if numbers else ""
    head = "".join(
        f'<th scope="col"{kind if place else ""}>{html.escape(text)}</th>'
        for place, text in enumerate(heads)
    )
    body = "".join(
        f"<tr><td>{row[0]}</td>"
        + "".join(f"<td{kind}>{cell}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    return (
        '<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{html.escape(name)}">\n'
        f"<table>\n<tr>{head}</tr>\n{body}</table>\n</div>"
    )

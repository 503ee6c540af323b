"""Writes tables of the page."""

import html


def table(heads, rows, numbers=False):
    """Writes a table as HTML.

    Args:
        heads: List of str, plain text.
        rows: List of rows, each a list of str, HTML.
        numbers: bool. Whether all columns but the first hold numbers.

    Returns:
        str.

    Example:

    >>> print(table(["a < b"], [["<b>yes</b>"]]))
    <table>
    <tr><th>a &lt; b</th></tr>
    <tr><td><b>yes</b></td></tr>
    </table>
    """
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    kind = ' class="number"' if numbers else ""
    body = "".join(
        f"<tr><td>{row[0]}</td>"
        + "".join(f"<td{kind}>{cell}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    return f"<table>\n<tr>{head}</tr>\n{body}</table>"

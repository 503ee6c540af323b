"""More references of a test corpus, for scores that take the nearest one."""

from moe_keras.paths import local_path
from translation.text.corpora.specs import parse_spec
from translation.text.text_files import CorpusError, read_lines


def read_references(paths, corpus):
    """Reads further references of a corpus.

    Args:
        paths: str. Text files, plain or `.gz`, with commas between (`\\,` is
            a comma of a name): a line for each pair of the corpus, in its
            order.
        corpus: `Corpus`.

    Returns:
        List of lists of str, one for each file.

    Raises:
        CorpusError: if a file is missing, or has another number of lines.

    Example:

    >>> import pathlib, tempfile
    >>> from translation.text.corpora.corpus import TsvCorpus
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "x.tsv").write_text("a dog\\tun chien\\n")
    >>> _ = (folder / "more.fr").write_text("le chien\\n")
    >>> read_references(f"{folder}/more.fr", TsvCorpus(folder / "x.tsv"))
    [['le chien']]
    """
    parts = parse_spec(paths) if paths.strip() else []
    names = [part.whole_name for part in parts]
    found = [list(read_lines(local_path(name))) for name in names]
    if found:
        pairs = sum(part["pairs"] for part in corpus.contents())
        for name, lines in zip(names, found, strict=True):
            if len(lines) != pairs:
                raise CorpusError(
                    f"{name} must have a line for each of the {pairs} pairs "
                    f"of {corpus.name}; it has {len(lines)}."
                )
    return found

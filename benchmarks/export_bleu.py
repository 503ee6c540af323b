"""Size and BLEU of exported versions, such as one in 8 bits beside another.

    python benchmarks/export_bleu.py runs/mine/export/1 runs/mine/export/2 \\
      --source=runs/mine/test.src --reference=runs/mine/test.ref

Prints a row for each version: bytes of the folder and of the weights alone,
BLEU, how many sentences are translated otherwise than by the first version,
and sentences a second. Versions take turns, batch after batch, so that what
else the machine does falls on all of them. Versions of several languages are
asked for `--target_language`.
"""

import argparse
import pathlib
import time

import sacrebleu
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the operations of the subwords

BATCH_SIZE = 64


def translate_in_turns(functions, sources, language=None):
    """Translates all sources by every function, batch after batch.

    Args:
        functions: List of functions of `serving_default`.
        sources: List of str.
        language: str, the `target_language` of models of several, or None.

    Returns:
        Lists of str and seconds, one of each for every function.
    """
    texts, seconds = [[] for _ in functions], [0.0] * len(functions)
    for start in range(0, len(sources), BATCH_SIZE):
        inputs = {"inputs": tf.constant(sources[start : start + BATCH_SIZE])}
        if language is not None:
            inputs["target_language"] = tf.constant([language])
        for place, function in enumerate(functions):
            begin = time.perf_counter()
            found = function(**inputs)["outputs"].numpy()
            seconds[place] += time.perf_counter() - begin
            texts[place] += [text.decode() for text in found]
    return texts, seconds


def bytes_of(folder, pattern="*"):
    """Returns the size of the files of a folder."""
    files = (path for path in folder.rglob(pattern) if path.is_file())
    return sum(path.stat().st_size for path in files)


def main():
    """Measures the versions that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("versions", nargs="+", type=pathlib.Path)
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--reference", required=True, type=pathlib.Path)
    parser.add_argument("--target_language", help="of a model of several")
    parser.add_argument(
        "--bleu_tokenizer", default="13a", help="one of sacrebleu"
    )
    flags = parser.parse_args()
    sources, references = (
        path.read_text("utf-8").removesuffix("\n").split("\n")
        for path in (flags.source, flags.reference)
    )
    loaded = [tf.saved_model.load(str(path)) for path in flags.versions]
    functions = [model.signatures["serving_default"] for model in loaded]
    language = flags.target_language
    translate_in_turns(functions, sources[:BATCH_SIZE], language)  # warms up
    texts, seconds = translate_in_turns(functions, sources, language)
    print("| version | bytes | weights | BLEU | other | sentences/s |")
    print("|" + " --- |" * 6)
    for path, found, spent in zip(flags.versions, texts, seconds, strict=True):
        bleu = sacrebleu.corpus_bleu(
            found, [references], tokenize=flags.bleu_tokenizer
        ).score
        other = sum(a != b for a, b in zip(found, texts[0], strict=True))
        print(
            f"| {path} | {bytes_of(path):,} "
            f"| {bytes_of(path, 'variables.data*'):,} | {bleu:.2f} "
            f"| {other} of {len(found)} | {len(sources) / spent:.1f} |"
        )


if __name__ == "__main__":
    main()

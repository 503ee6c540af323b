"""A served translator under odd strings, then under a steady load.

    python benchmarks/serving.py runs/mine/export --texts=data/test.en

Loads the newest version of a SavedModel as a server would: with tensorflow
and tensorflow_text, and nothing of this project. First come `--odd` strings
of all kinds that a service meets, in batches of mixed sizes; a failure is an
exception, or a result that is not what docs/serving.md promises. Some of them
are then sent alone and compared, and `--others` of them go to each of the
other signatures. Then come `--seconds` of ordinary sentences in batches of 1, 8
and 64, one request after the other. A model of several languages is asked for
all of those on its card, one for each string, and by some odd strings for
languages that it does not write (`target_languages.py`).

Prints failures, differences, sentences a second, processor time of a sentence
(which other programs on the machine change little) and the latency's 50th and
99th percentile, as a table and as one line of JSON. Ends with code 1 if there
is any failure, or another text where a string is alone.

    python benchmarks/serving.py runs/mine/export --url=http://127.0.0.1:8501

puts a server on this machine through the scenarios of `serving_scenarios.py`,
and calls the SavedModel directly in the same run, to compare. The server is
`python -m trainers.serve` on copies of the version, started and ended here;
with `--running` it is there already, and versions and restarts are left out.
"""

import argparse
import asyncio
import collections
import gzip
import itertools
import json
import pathlib
import random
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the operations of the subwords
from http_load import local_address
from odd_strings import SENTENCES, odd_strings
from serving_scenarios import (
    NEED_OWN_SERVER,
    SCENARIOS,
    OwnServer,
    Setting,
    wait_until_ready,
)
from target_languages import asking, is_odd, languages_of, odd_language_for

BATCH_SIZES = (1, 8, 64)
LEAST = np.finfo("float32").min  # the score where there is no translation

# Scores of a string alone and in a batch differ by rounding only.
TOLERANCE = 1e-3


def send_odd(
    translate, strings, seed=0, on_progress=print, is_unknown=lambda text: False
):
    """Sends strings in batches of 1 to 64.

    Args:
        translate: The function of `serving_default`.
        strings: List of bytes.
        seed: int. Of the sizes of the batches.
        on_progress: function of a line of text.
        is_unknown: function of a string: whether it is asked for in a
            language that the model does not write.

    Returns:
        List of results `(text, score)`, None where there is none, and a
        `Counter` of failures by reason.
    """
    draw = random.Random(seed)
    results, failures = [], collections.Counter()
    told = time.monotonic()
    while len(results) < len(strings):
        size = draw.randint(1, 64)
        batch = strings[len(results) : len(results) + size]
        try:
            found = _call(translate, batch)
        except tf.errors.OpError as error:
            failures[f"{type(error).__name__}: {error.message[:60]}"] += 1
            found = [None] * len(batch)
        for string, result in zip(batch, found, strict=True):
            if result is None:
                continue
            if reason := _wrong(string, result, is_unknown(string)):
                failures[reason] += 1
        results += found
        if time.monotonic() - told > 30:
            told = time.monotonic()
            on_progress(f"{len(results):,} of {len(strings):,} strings sent")
    return results, failures


def _call(translate, batch):
    found = translate(inputs=tf.constant(batch, tf.string))
    texts, scores = found["outputs"].numpy(), found["scores"].numpy()
    return list(zip(texts.tolist(), scores.tolist(), strict=True))


def _wrong(string, result, is_unknown):
    """What is wrong with a result, or None."""
    text, score = result
    if is_unknown:
        is_nothing = text == b"" and score == LEAST
        return None if is_nothing else "a result in an unknown language"
    is_blank = not string.strip(b" \t\n\v\f\r")
    if is_blank and result != (b"", 0.0):
        return "a blank string has a translation"
    if not np.isfinite(score) or score <= LEAST:
        return "no score"
    try:
        text.decode()
    except UnicodeDecodeError:
        return "output that is not UTF-8"
    return None


def send_alone(translate, strings, results, count, seed=0):
    """Sends some strings again, each alone.

    Args:
        translate: The function of `serving_default`.
        strings: List of bytes.
        results: What `send_odd` gave for them.
        count: int. How many.
        seed: int. Of the choice.

    Returns:
        How many of these have another text, and another score.
    """
    places = random.Random(seed).sample(range(len(strings)), count)
    texts = scores = 0
    for place in places:
        [(text, score)] = _call(translate, [strings[place]])
        text_before, score_before = results[place] or (None, np.inf)
        texts += text != text_before
        scores += not np.isclose(score, score_before, TOLERANCE, TOLERANCE)
    return texts, scores


def send_to_others(signatures, strings):
    """Sends strings in batches of 16 to all signatures but the first.

    Args:
        signatures: dict of the functions of a version, by name.
        strings: List of bytes.

    Returns:
        `Counter` of failures by signature and reason.
    """
    failures = collections.Counter()
    for start in range(0, len(strings), 16):
        batch = strings[start : start + 16]
        for name, inputs in _other_inputs(batch).items():
            try:
                found = signatures[name](**inputs)
                if name == "tokenize":
                    ids = {"ids": found["ids"]}
                    text = signatures["detokenize"](**ids)["outputs"]
                    found = {**found, "text": text}
            except tf.errors.OpError as error:
                reason = f"{type(error).__name__}: {error.message[:60]}"
                failures[f"{name}: {reason}"] += 1
                continue
            for output, tensor in found.items():
                if reason := _wrong_tensor(tensor.numpy(), len(batch)):
                    failures[f"{name}: {output}: {reason}"] += 1
    return failures


def _other_inputs(batch):
    """What the other signatures are sent, but `detokenize`."""
    texts = tf.constant(batch, tf.string)
    zeros = tf.zeros([len(batch)])
    return {
        "translate_nbest": {"inputs": texts},
        "translate_with_options": {
            "inputs": texts,
            "beam_width": tf.cast(zeros, tf.int32),
            "length_penalty": zeros + 1.0,
            "coverage_penalty": zeros - 1.0,
            "target_language": tf.fill([len(batch)], ""),
        },
        "score": {"sources": texts, "targets": texts[::-1]},
        "tokenize": {"inputs": texts},
    }


def _wrong_tensor(values, rows):
    """What is wrong with an output, or None."""
    if len(values) != rows:
        return "not a row for each string"
    if values.dtype != object:
        return None if np.all(np.isfinite(values)) else "not finite"
    try:
        for text in values.flat:
            text.decode()
    except UnicodeDecodeError:
        return "not UTF-8"
    return None


def load(translate, texts, batch_size, seconds):
    """Requests of ordinary texts, one after the other.

    Args:
        translate: The function of `serving_default`.
        texts: List of str.
        batch_size: int. Texts of a request.
        seconds: float. How long, at least.

    Returns:
        dict of figures.
    """
    texts = itertools.cycle(texts)
    batches = (
        tf.constant([next(texts) for _ in range(batch_size)])
        for _ in itertools.count()
    )
    for _ in range(3):  # what is set up once is not counted
        translate(inputs=next(batches))["outputs"].numpy()
    latencies = []
    used = time.process_time()
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        translate(inputs=next(batches))["outputs"].numpy()
        latencies.append(time.perf_counter() - now)
    used = time.process_time() - used
    p50, p99 = np.percentile(latencies, [50, 99])
    return {
        "batch_size": batch_size,
        "requests": len(latencies),
        "sentences_per_second": len(latencies) * batch_size / sum(latencies),
        "cpu_ms_per_sentence": 1000 * used / len(latencies) / batch_size,
        "p50_ms": 1000 * p50,
        "p99_ms": 1000 * p99,
    }


def run_scenarios(flags, path, loaded):
    """Puts a server through scenarios; prints their figures as JSON.

    Args:
        flags: Those of `parse_flags`.
        path: Path of a version.
        loaded: The same version, loaded.

    Returns:
        1 if anything failed, else 0.
    """
    address = local_address(flags.url)
    names = flags.scenarios.split(",")
    texts = read_texts(flags.texts)
    setting = Setting(
        address, flags.name, texts, flags.requests, flags.odd, flags.repeats
    )
    setting.languages = languages_of(path, loaded.signatures)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        if not flags.running:
            setting.server = OwnServer(
                path,
                folder,
                address[1],
                flags.name,
                flags.server_flags.split(),
            )
            setting.server.start()
        try:
            asyncio.run(wait_until_ready(setting))
            for name in names:
                if flags.running and name in NEED_OWN_SERVER:
                    print(f"{name}: left out, the server is not our own")
                    continue
                figures = asyncio.run(SCENARIOS[name](setting))
                failures += figures["failures"]
                print(f"{name}: {json.dumps(figures)}", flush=True)
                if name == "closed":
                    _print_direct(
                        loaded, texts, flags.seconds, setting.languages
                    )
        finally:
            if setting.server is not None:
                setting.server.close()
    return failures > 0


def _print_direct(loaded, texts, seconds, languages):
    """The same sentences without a server, for comparison."""
    translate = asking(loaded.signatures["serving_default"], languages)
    for size in BATCH_SIZES:
        print(f"direct: {json.dumps(load(translate, texts, size, seconds))}")


def newest_version(path):
    """The path of a version, or of the newest one in a folder of them."""
    path = pathlib.Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    numbers = [int(p.name) for p in path.glob("*") if p.name.isdigit()]
    if not numbers:
        raise SystemExit(f"There is no exported version in {path}.")
    return path / str(max(numbers))


def read_texts(path):
    """The lines of a text file, plain or .gz, or `SENTENCES` without one."""
    if path is None:
        return list(SENTENCES)
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as file:
        return file.read().removesuffix("\n").split("\n")


def parse_flags():
    """The flags of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("path", help="a version, or the folder of versions")
    parser.add_argument("--odd", type=int, default=10_000)
    parser.add_argument("--alone", type=int, default=200)
    parser.add_argument("--others", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--texts", help="ordinary sentences, one a line")
    served = parser.add_argument_group("a server, with --url")
    served.add_argument("--url", help="of this machine")
    served.add_argument("--name", default="nmt", help="of the model")
    served.add_argument(
        "--running", action="store_true", help="the server is there already"
    )
    served.add_argument(
        "--server_flags", default="", help="more flags of the server"
    )
    served.add_argument("--requests", type=int, default=100_000)
    served.add_argument("--repeats", type=int, default=20)
    served.add_argument(
        "--scenarios", default=",".join(SCENARIOS), help="which, with commas"
    )
    return parser.parse_args()


def run_odd(flags, path, signatures, languages):
    """Sends odd strings to all signatures, and says what became of them.

    Args:
        flags: Those of `parse_flags`.
        path: Path of the version, to be named.
        signatures: dict of functions by name.
        languages: Target languages, see `languages_of`.

    Returns:
        dict of figures.
    """
    translate = asking(
        signatures["serving_default"], languages, odd_language_for
    )
    strings = odd_strings(flags.odd)
    results, failures = send_odd(
        translate,
        strings,
        is_unknown=is_odd if languages else lambda text: False,
    )
    alone = min(flags.alone, len(strings))
    texts, scores = send_alone(translate, strings, results, alone)
    others = strings[: flags.others]
    failures += send_to_others(
        {
            name: function
            if name in ("tokenize", "detokenize")
            else asking(function, languages)
            for name, function in signatures.items()
        },
        others,
    )
    print(f"{path}: {len(strings):,} odd strings, {failures.total()} failures")
    if languages:
        odd = sum(map(is_odd, strings))
        print(
            f"into {', '.join(languages)}, and {odd:,} into unknown languages"
        )
    for reason, count in failures.items():
        print(f"  {count} x {reason}")
    print(f"{alone} of them alone: {texts} other texts, {scores} other scores")
    print(f"{len(others)} of them sent to the other signatures as well")
    return {
        "odd_strings": len(strings),
        "failures": failures.total(),
        "sent_to_others": len(others),
        "sent_alone": alone,
        "other_texts": texts,
        "other_scores": scores,
    }


def print_loads(rows):
    """Prints the figures of `load` as a table."""
    print(
        "\n| batch | sentences/s | CPU ms each | p50 ms | p99 ms | requests |"
    )
    print("|" + " ---: |" * 6)
    for row in rows:
        print(
            f"| {row['batch_size']} | {row['sentences_per_second']:.1f} "
            f"| {row['cpu_ms_per_sentence']:.1f} "
            f"| {row['p50_ms']:.0f} | {row['p99_ms']:.0f} "
            f"| {row['requests']} |"
        )


def main():
    """Runs the benchmark."""
    flags = parse_flags()
    path = newest_version(flags.path)
    loaded = tf.saved_model.load(str(path))
    if flags.url:
        sys.exit(run_scenarios(flags, path, loaded))
    languages = languages_of(path, loaded.signatures)
    figures = run_odd(flags, path, loaded.signatures, languages)
    translate = asking(loaded.signatures["serving_default"], languages)
    ordinary = read_texts(flags.texts)
    loads = [
        load(translate, ordinary, size, flags.seconds) for size in BATCH_SIZES
    ]
    print_loads(loads)
    # It needs nothing of the project.
    figures["failures"] += bool(
        {"moe_keras", "translation", "trainers"} & sys.modules.keys()
    )
    figures["load"] = loads
    print("\n" + json.dumps(figures))
    sys.exit(is_bad(figures))


def is_bad(figures):
    """Whether the exit code says so: a score differs by rounding, no text."""
    return figures["failures"] > 0 or figures["other_texts"] > 0


if __name__ == "__main__":
    main()

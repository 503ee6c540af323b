"""The generated corpus is spoilt as it says, and filters find just that."""

import json

from benchmarks.big_corpus import FILTERS, SPOILERS, generate, verdicts
from translation.text.corpora.corpus import open_corpus


def test_filters_find_what_was_spoilt(tmp_path):
    generate(tmp_path, 1_300, pool_size=50)
    count, expected = json.loads((tmp_path / "spoilt.json").read_text())
    # 13 of 1,300, in turn: three of the first kind and two of each other.
    assert (count, list(expected.values())) == (1_300, [3, 2, 2, 2, 2, 2])
    corpus = open_corpus(str(tmp_path / "big"), "en-fr", filters=FILTERS)
    assert corpus.check().pairs == 1_287
    figures = {
        "dropped": corpus.reports()[0].dropped,
        "pipeline_tokens_s": 30.0,
        "training_tokens_s": 2.0,
        "first_batch_s": 59.0,
        "resident_bytes": 1e9,
        "resumed_batches_same": 1.0,
    }
    met = verdicts(figures, expected)
    assert list(met.values()) == [True, True, True, True, False]
    expected[next(iter(SPOILERS))] += 1
    assert not next(iter(verdicts(figures, expected).values()))

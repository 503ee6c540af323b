"""Sources with a token for the target language in front."""

import pytest
import tensorflow as tf
from awkward_texts import AWKWARD, SENTENCES

from translation.text.sources import source_ids, source_row
from translation.text.special_ids import EOS_ID
from translation.text.tokenizer.training import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 330).with_targets(["fr", "pt-BR"])


def test_the_graph_agrees_with_python(tokenizer):
    first = [tokenizer.targets[x] for x in ("fr", "pt-BR")] * len(AWKWARD)
    first = first[: len(AWKWARD)]
    rows = source_ids(tokenizer, AWKWARD, first).to_list()
    assert [[*row, EOS_ID] for row in rows] == [
        source_row(ids, target, 10_000)
        for ids, target in zip(tokenizer.encode(AWKWARD), first, strict=True)
    ]


def test_without_a_target_the_text_stands_alone(tokenizer):
    ids = source_ids(tokenizer, tf.constant(SENTENCES))
    assert ids.to_list() == tokenizer.encode(SENTENCES)


def test_the_limit_counts_the_token_and_the_end():
    assert source_row([7, 8, 9], 300, 3) == [300, 7, EOS_ID]
    assert source_row([7, 8], 300, 4) == [300, 7, 8, EOS_ID]

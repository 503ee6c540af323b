"""Subwords in Python and in the graph."""

import random
import unicodedata

import pytest
import tensorflow as tf
from awkward_texts import AWKWARD, SENTENCES
from sentencepiece import sentencepiece_model_pb2

from translation.text.special_ids import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from translation.text.tokenizer.tokenizer import Tokenizer, TokenizerError
from translation.text.tokenizer.training import train_tokenizer


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request):
    return train_tokenizer(SENTENCES, 330, request.param)


def random_strings(count):
    generator = random.Random(0)
    ranges = [(0, 0x80), (0, 0x800), (0x800, 0xD800), (0xE000, 0x110000)]
    spaces = [" ", " ", "\u2581"]

    def character():
        code = generator.randrange(*generator.choice(ranges))
        return generator.choice(spaces + [chr(code)] * 5)

    strings = [
        "".join(character() for _ in range(generator.randrange(1, 20)))
        for _ in range(count)
    ]
    return [string.replace("\ufdd0", "") for string in strings]


class TestRoundTrip:
    @pytest.mark.parametrize("text", AWKWARD)
    def test_awkward_text_comes_back(self, tokenizer, text):
        assert tokenizer.decode(tokenizer.encode([text])) == [text]

    def test_random_unicode_comes_back(self, tokenizer):
        strings = random_strings(500)
        assert tokenizer.decode(tokenizer.encode(strings)) == strings

    def test_the_one_documented_exception(self, tokenizer):
        ids = tokenizer.encode(["a\ufdd0b"])
        assert tokenizer.decode(ids) == ["a\u2581b"]

    def test_the_graph_agrees_with_python(self, tokenizer):
        strings = AWKWARD + SENTENCES[:6] + random_strings(300)
        ids = tokenizer.tokenize(tf.constant(strings))
        assert ids.dtype == tf.int32
        assert ids.to_list() == tokenizer.encode(strings)
        texts = tokenizer.detokenize(ids.to_tensor(PAD_ID))
        assert [text.decode() for text in texts.numpy()] == strings

    def test_no_special_id_comes_out_of_text(self, tokenizer):
        ids = sum(tokenizer.encode(AWKWARD + random_strings(300)), [])
        assert min(ids) > UNK_ID
        assert max(ids) < tokenizer.vocab_size

    def test_first_word_has_the_id_it_has_elsewhere(self, tokenizer):
        tree, the_tree = tokenizer.encode(["tree", "the tree"])
        assert the_tree[-len(tree) :] == tree

    def test_bytes_that_are_not_utf8_are_replaced(self, tokenizer):
        ids = tokenizer.tokenize(tf.constant([b"a\xff\xfeb"])).to_tensor()
        text = tokenizer.detokenize(ids).numpy()[0].decode()
        assert text == "a\ufffd\ufffdb"


class TestDecoding:
    def rows(self, tokenizer):
        first, second = tokenizer.encode(["a tree", "old man"])
        beyond = tokenizer.vocab_size + 5
        return [
            [BOS_ID, *first, UNK_ID, EOS_ID, *second],
            [beyond, *second, PAD_ID, PAD_ID],
            [EOS_ID, *first],
            [],
        ]

    def test_a_row_ends_at_eos_and_specials_are_dropped(self, tokenizer):
        rows = self.rows(tokenizer)
        expected = ["a tree", "old man", "", ""]
        assert tokenizer.decode(rows) == expected
        dense = tf.ragged.constant(rows, tf.int32).to_tensor(PAD_ID)
        texts = tokenizer.detokenize(dense).numpy()
        assert [text.decode() for text in texts] == expected

    def test_any_ids_give_valid_utf8(self, tokenizer):
        generator = random.Random(1)
        rows = [
            [generator.randrange(tokenizer.vocab_size) for _ in range(12)]
            for _ in range(200)
        ]
        texts = tokenizer.detokenize(tf.constant(rows)).numpy()
        assert [text.decode() for text in texts] == tokenizer.decode(rows)

    def test_empty_batches(self, tokenizer):
        assert tokenizer.encode([]) == []
        assert tokenizer.decode([]) == []
        ids = tokenizer.tokenize(tf.zeros([0], tf.string))
        assert ids.shape[0] == 0
        for length in (0, 3):
            texts = tokenizer.detokenize(tf.zeros([0, length], tf.int32))
            assert texts.shape == (0,)


class TestSampling:
    TEXTS = ["the old man sees the green garden", "", "Bäume  樹 "]

    @pytest.mark.parametrize("cuts", [0.2, 1.0])
    def test_segmentations_vary_and_mean_the_same(self, tokenizer, cuts):
        @tf.function(autograph=False)
        def sample(strings, seed):
            return tokenizer.tokenize(strings, cuts, seed)

        texts = tf.constant(self.TEXTS)
        plain = tokenizer.tokenize(texts).to_list()
        drawn = [sample(texts, tf.constant([0, i])).to_list() for i in range(9)]
        assert len({tuple(rows[0]) for rows in drawn}) > (cuts < 1)
        for rows in drawn:
            assert tokenizer.decode(rows) == self.TEXTS
            assert len(rows[0]) >= len(plain[0])

    def test_the_seed_decides(self, tokenizer):
        texts = tf.constant(self.TEXTS[:1] * 40)
        first, again, other = (
            tokenizer.tokenize(texts, 0.3, (1, i)).to_list() for i in (5, 5, 6)
        )
        assert first == again != other
        assert len({tuple(row) for row in first}) > 20  # each row its own

    def test_each_string_may_have_a_rate_of_its_own(self, tokenizer):
        texts = tf.constant(self.TEXTS[:1] * 2)
        plain, cut = tokenizer.tokenize(texts, [0.0, 1.0], (0, 0)).to_list()
        assert plain == tokenizer.tokenize(texts[:1]).to_list()[0]
        assert len(cut) > len(plain)

    def test_bpe_is_cut_alike(self):
        tokenizer = train_tokenizer(SENTENCES, 300, "bpe")
        ids = tokenizer.tokenize(self.TEXTS, 0.5, (0, 0)).to_list()
        assert tokenizer.decode(ids) == self.TEXTS
        assert ids[0] != tokenizer.tokenize(self.TEXTS).to_list()[0]

    def test_without_sampling_nothing_varies(self, tokenizer):
        rows = tokenizer.tokenize(tf.constant(["the old man"] * 20)).to_list()
        assert len({tuple(row) for row in rows}) == 1


class TestFiles:
    def test_save_and_load(self, tokenizer, tmp_path):
        path = tmp_path / "folder" / "tokenizer.model"
        tokenizer.save(path)
        loaded = Tokenizer.load(str(path))
        assert loaded.model_proto == tokenizer.model_proto
        assert loaded.encode(SENTENCES) == tokenizer.encode(SENTENCES)

    def test_a_missing_file_is_a_clear_error(self, tmp_path):
        path = tmp_path / "none.model"
        with pytest.raises(TokenizerError, match=f"{path}: No such file"):
            Tokenizer.load(path)

    @pytest.mark.parametrize("content", [b"", b"junk", None])
    def test_a_broken_file_is_a_clear_error(self, tokenizer, tmp_path, content):
        path = tmp_path / "broken.model"
        if content is None:
            content = tokenizer.model_proto[:2_000]
        path.write_bytes(content)
        with pytest.raises(TokenizerError, match="broken.model: Not a"):
            Tokenizer.load(path)

    def test_a_model_made_otherwise_is_refused(self, tokenizer):
        model = sentencepiece_model_pb2.ModelProto.FromString(
            tokenizer.model_proto
        )
        model.trainer_spec.pad_id = -1
        with pytest.raises(TokenizerError, match="not made by.*-1, 1, 2, 3"):
            Tokenizer(model.SerializeToString())

    def test_a_saved_module_takes_the_model_with_it(self, tmp_path):
        module = tf.Module()
        module.tokenizer = train_tokenizer(SENTENCES, 330)

        @tf.function(
            input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
        )
        def round_trip(strings):
            ids = module.tokenizer.tokenize(strings)
            return module.tokenizer.detokenize(ids.to_tensor(PAD_ID))

        module.round_trip = round_trip
        tf.saved_model.save(module, str(tmp_path))
        loaded = tf.saved_model.load(str(tmp_path))
        texts = loaded.round_trip(tf.constant(AWKWARD)).numpy()
        assert [text.decode() for text in texts] == AWKWARD


class TestNormalization:
    NFD = unicodedata.normalize("NFD", "Le café où ﬁnit l'été.")

    @pytest.mark.parametrize("form", ["NFC", "NFKC"])
    def test_all_forms_of_a_text_have_the_same_ids(self, form):
        tokenizer = train_tokenizer(
            [*SENTENCES, self.NFD], 330, normalization=form
        )
        plain = unicodedata.normalize(form, self.NFD)
        texts = [plain, self.NFD, unicodedata.normalize("NFC", self.NFD)]
        ids = tokenizer.encode(texts)
        assert ids[0] == ids[1] == ids[2]
        assert tokenizer.tokenize(tf.constant(texts)).to_list() == ids
        assert tokenizer.decode(ids[:1]) == [plain]
        cut = tokenizer.tokenize(tf.constant(texts), 0.5, seed=(1, 2))
        joined = tokenizer.detokenize(cut.to_tensor(PAD_ID)).numpy()
        assert [text.decode() for text in joined] == [plain] * 3

    def test_form_is_saved_with_the_model(self, tokenizer, tmp_path):
        assert tokenizer.normalization == "none"
        composed = tokenizer.normalized("NFC")
        composed.save(tmp_path / "x.model")
        loaded = Tokenizer.load(tmp_path / "x.model")
        assert loaded.normalization == "NFC"
        assert loaded.sha256 != tokenizer.sha256
        assert loaded.encode(["e\u0301"]) == tokenizer.encode(["é"])
        assert composed.normalized("NFC") is composed
        assert tokenizer.encode(["e\u0301"]) != tokenizer.encode(["é"])

    def test_another_form_is_refused(self):
        with pytest.raises(TokenizerError, match="NFC, NFKC, none.*'NFD'"):
            train_tokenizer(SENTENCES, 330, normalization="NFD")


class TestTargets:
    def test_tokens_come_behind_the_vocabulary(self, tokenizer):
        size = tokenizer.vocab_size
        both = tokenizer.with_targets(["fr", "pt-BR"])
        assert both.targets == {"fr": size, "pt-BR": size + 1}
        assert both.vocab_size == size + 2
        assert both.pieces([size, size + 1]) == ["<2fr>", "<2pt-BR>"]
        assert tokenizer.targets == {}

    def test_no_text_spells_them(self, tokenizer):
        both = tokenizer.with_targets(["fr"])
        texts = ["<2fr>", "<2fr> a tree", "a <2fr>", *AWKWARD]
        assert both.encode(texts) == tokenizer.encode(texts)
        assert both.tokenize(tf.constant(texts)).to_list() == both.encode(texts)

    def test_they_are_decoded_into_nothing(self, tokenizer):
        both = tokenizer.with_targets(["fr"])
        rows = [[both.targets["fr"], *both.encode(["a tree"])[0]]]
        assert both.decode(rows) == ["a tree"]
        assert both.detokenize(rows).numpy().tolist() == [b"a tree"]

    def test_they_are_read_back(self, tokenizer, tmp_path):
        both = tokenizer.with_targets(["fr", "en"])
        both.save(tmp_path / "model")
        loaded = Tokenizer.load(tmp_path / "model")
        assert loaded.targets == both.targets
        assert loaded.with_targets(["en", "fr"]) is loaded

    def test_others_keep_their_ids_and_are_no_targets(self, tokenizer):
        both = tokenizer.with_targets(["fr", "en"])
        other = both.with_targets(["en", "de"])
        assert other.targets["en"] == both.targets["en"]
        assert other.targets["de"] == both.vocab_size
        assert set(other.targets) == {"en", "de"}
        none = other.with_targets([])
        assert none.targets == {}
        assert none.encode(SENTENCES) == tokenizer.encode(SENTENCES)

    def test_a_piece_that_text_spells_becomes_the_token(self, tokenizer):
        model = sentencepiece_model_pb2.ModelProto.FromString(
            tokenizer.model_proto
        )
        index = len(model.pieces)
        model.pieces.add(
            piece="<2fr>",
            type=sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED,
        )
        spelled = Tokenizer(model.SerializeToString())
        assert index in spelled.encode(["x<2fr>"])[0]
        token = spelled.with_targets(["fr"])
        assert token.targets == {"fr": index}
        assert index not in token.encode(["x<2fr>"])[0]

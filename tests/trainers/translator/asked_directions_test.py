"""Into which language lines go: what is taken, told and refused."""

import pytest

from trainers.translator.asked_directions import AskedDirections

MODEL = "en-fr,fr-en,en-pt-BR,pt-BR-en"


class TestFlags:
    def test_a_model_of_one_language_needs_none(self):
        asked = AskedDirections("en-fr")
        assert (asked.source, asked.target) == ("en", "fr")
        assert str(asked.pair) == "en-fr"
        several = AskedDirections("en-fr,de-fr")
        assert (several.source, several.target, several.pair) == (
            *(None, "fr"),
            None,
        )

    @pytest.mark.parametrize("target", ["pt-BR", "pt_BR", "PT-br"])
    def test_the_spelling_of_a_tag_is_free(self, target):
        asked = AskedDirections(MODEL, target=target)
        assert str(asked.pair) == "en-pt-BR"  # the only source of it

    def test_a_source_that_is_not_said_is_any(self):
        asked = AskedDirections(MODEL, target="en")
        assert asked.source is None and asked.pair is None

    @pytest.mark.parametrize(
        "given, message",
        [
            ({}, "--target must say .* translates en-fr, fr-en, en-pt-BR"),
            ({"target": "de"}, "does not know 'de'. It translates en-fr"),
            ({"source": "de", "target": "fr"}, "does not know 'de'"),
            (
                {"source": "fr", "target": "pt-BR"},
                "not trained from fr to pt-BR. .* --zero_shot takes",
            ),
            (
                {"source": "en", "target": "en"},
                "not trained from en to en",
            ),
        ],
    )
    def test_what_the_model_does_not_do_is_refused(self, given, message):
        with pytest.raises(ValueError, match=message):
            AskedDirections(MODEL, **given)

    def test_a_language_that_is_only_read_is_not_written(self):
        for zero_shot in (False, True):
            with pytest.raises(ValueError, match="does not write en. It"):
                AskedDirections("en-fr,en-de", None, "en", zero_shot=zero_shot)

    def test_directions_without_training_are_taken_and_told_when_asked_for(
        self,
    ):
        told = []
        asked = AskedDirections(
            MODEL, "fr", "pt-BR", zero_shot=True, tell=told.append
        )
        assert str(asked.pair) == "fr-pt-BR"
        assert told == [
            "Zero-shot fr-pt-BR: the model was not trained in this direction."
        ]
        asked.tell_untrained()  # there is no column that it could count
        assert len(told) == 1


class TestColumns:
    def test_a_target_or_a_direction(self):
        asked = AskedDirections(MODEL, in_column=True)
        assert asked.of_column("fr") == "fr"
        assert asked.of_column(" EN_pt_br ") == "pt-BR"
        assert asked.of_column("pt-BR") == "pt-BR"

    def test_an_empty_one_is_that_of_all_lines(self):
        assert AskedDirections(MODEL, None, "fr", True).of_column(" ") == "fr"
        with pytest.raises(ValueError, match="column of the language is empty"):
            AskedDirections(MODEL, in_column=True).of_column("")

    def test_directions_without_training_are_counted_apart(self):
        told = []
        asked = AskedDirections(
            MODEL, in_column=True, zero_shot=True, tell=told.append
        )
        for text in ("en-fr", "fr-pt-BR", "fr-pt_BR", "pt-BR-fr", "fr"):
            asked.of_column(text)
        assert len(told) == 2  # when each comes for the first time
        asked.tell_untrained()
        assert told[2:] == [
            "Zero-shot fr-pt-BR: 2 lines.",
            "Zero-shot pt-BR-fr: 1 line.",
        ]

    def test_they_are_refused_without_being_asked_for(self):
        asked = AskedDirections(MODEL, in_column=True)
        with pytest.raises(ValueError, match="--zero_shot"):
            asked.of_column("fr-pt-BR")
        from_french = AskedDirections(MODEL, source="fr", in_column=True)
        with pytest.raises(ValueError, match="not trained from fr to pt-BR"):
            from_french.of_column("pt-BR")
        assert from_french.of_column("en") == "en"

"""What the experts of a translator have learnt, over a corpus.

B: batch    T: length    K: experts per token
"""

from moe_keras.monitoring import routing_layers
from trainers.engine.expert_study import (
    check_has_experts,
    join_subwords,
    routed_tokens,
    routing_function,
    study_routed,
)
from trainers.translator.folder import ModelFolder
from translation.text.corpora.multilingual import open_directions
from translation.text.directions import parse_directions
from translation.text.input_pipeline import evaluation_batches
from translation.text.special_ids import PAD_ID
from translation.text.text_files import read_labels

# What the study calls the languages of a sentence.
_LANGUAGES = ("source language", "target language")


def study_experts(model_dir, test=None, labels=None, log=print):
    """Study what the experts of a trained model have learnt.

    Sources and references of a corpus go through the model, without beam
    search. An encoder layer sees source subwords, a decoder layer subwords of
    the reference; its factor "next token" is the subword to be predicted. Of a
    model of several directions the sentences have their languages as well, so
    that the study says how much of the choice of experts is language.

    Args:
        model_dir: str or path of a folder with a trained model. Gets
            `experts.json` and `experts.md`.
        test: str or None. A corpus; None takes that of the configuration.
        labels: str or None. File with a label for each sentence, a line each.
        log: Function of one line of text.

    Returns:
        List of `moe_keras.analysis.LayerStudy`.

    Raises:
        CorpusError: if the corpus or the labels cannot be used.
        FolderError, CheckpointError: if there is no such model.
        ValueError: if the model has no MoE layer.
    """
    folder = ModelFolder(model_dir)
    config = folder.load_config()
    corpus = open_directions(test or config.test, config.pair, "test")
    size = corpus.check()
    label_of = read_labels(labels, size.pairs)
    model, tokenizer = folder.load_model(config)
    check_has_experts(model, folder)
    log(f"Routing {size.pairs:,} sentences of {corpus.name} ...")
    batches = evaluation_batches(corpus, tokenizer, config.batches)
    directions = parse_directions(config.pair)
    routed = route_corpus(model, tokenizer, batches, label_of, directions)
    studies = study_routed(folder, routed, corpus.name, join_subwords, log)
    for study in studies:
        for line in about_languages(study):
            log(line)
    return studies


def about_languages(study):
    """Says how much of the choice of experts is language, beside chance.

    Args:
        study: `moe_keras.analysis.LayerStudy`.

    Returns:
        List of str, a line for each kind of language that was studied.
    """
    return [
        f"{study.layer}: {100 * found.share:.1f} % of what is settled of the "
        f"choice of experts is the {found.name}: {found.bits:.3f} bits, by "
        f"chance {found.shuffled_mean:.3f} and at most "
        f"{found.shuffled_max:.3f}."
        for found in study.information
        if found.name in _LANGUAGES and found.given is None
    ]


def route_corpus(model, tokenizer, batches, label_of=None, directions=None):
    """Run a corpus through a translator and collect its routing.

    Args:
        model: `Translator`.
        tokenizer: `Tokenizer`.
        batches: Batches of `evaluation_batches`.
        label_of: List of a label for each sentence of the corpus, or None.
        directions: `Directions` of the batches, or None.

    Returns:
        dict of `RoutedTokens`, by the name of the layer.
    """
    route = routing_function(model, _call)
    encoder = {layer.name for layer in routing_layers(model.encoder)}
    routed = routed_tokens(model)
    for batch in batches:
        batch_of = {name: batch[name].numpy() for name in batch}
        for name, (expert_BTK, gate_BTK) in route(batch).items():
            side = "source" if name in encoder else "target_in"
            rows = zip(expert_BTK, gate_BTK, strict=True)
            for row, (expert_TK, gate_TK) in enumerate(rows):
                ids = batch_of[side][row]
                length = int((ids != PAD_ID).sum())
                if not length:
                    continue  # a row that fills up a batch
                factors = {}
                if side == "target_in":
                    following = batch_of["target_out"][row][:length]
                    factors["next token"] = tokenizer.pieces(following)
                index = batch_of["index"][row]
                languages = {}
                if "direction" in batch_of:
                    pair = directions[batch_of["direction"][row]]
                    languages = _languages_of(pair, directions)
                routed[name].add(
                    tokenizer.pieces(ids[:length]),
                    expert_TK[:length],
                    gate_TK[:length],
                    label=label_of and label_of[index],
                    of_sentence=languages,
                    **factors,
                )
    return routed


def _languages_of(pair, directions):
    """The languages of a sentence, those that differ among directions."""
    sides = zip(_LANGUAGES, pair, zip(*directions, strict=True), strict=True)
    return {name: tag for name, tag, tags in sides if len({*tags}) > 1}


def _call(model, batch):
    model(batch, training=False)

"""What the experts of a translator have learnt, over a corpus.

B: batch    T: length    K: experts per token
"""

import tensorflow as tf

from moe_keras.analysis import (
    Extent,
    RoutedTokens,
    study_layer,
    write_studies,
)
from moe_keras.monitoring import (
    collected_routing,
    routing_layers,
    uncounted,
)
from moe_keras.paths import local_path
from trainers.translator.folder import ModelFolder
from translation.text.corpora.corpus import open_corpus
from translation.text.input_pipeline import evaluation_batches
from translation.text.special_ids import PAD_ID
from translation.text.text_files import CorpusError, read_lines

# Subwords are shown as SentencePiece writes them: this begins a word.
_WORD_BEGIN = "\u2581"


def study_experts(model_dir, test=None, labels=None, log=print):
    """Study what the experts of a trained model have learnt.

    Sources and references of a corpus go through the model, without beam
    search. An encoder layer sees source subwords, a decoder layer subwords of
    the reference; its factor "next token" is the subword to be predicted.

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
    corpus = open_corpus(test or config.test, config.pair, "test")
    size = corpus.check()
    label_of = _read_labels(labels, size.pairs)
    model, tokenizer = folder.load_model(config)
    if not routing_layers(model):
        raise ValueError(f"The model in {folder.path} has no MoE layer.")
    log(f"Routing {size.pairs:,} sentences of {corpus.name} ...")
    batches = evaluation_batches(corpus, tokenizer, config.batches)
    routed = route_corpus(model, tokenizer, batches, label_of)
    studies = []
    for name, tokens in routed.items():
        log(f"Studying {name} ...")
        studies.append(study_layer(name, tokens, Extent(join=_join)))
    for path in write_studies(folder.path, studies, corpus.name):
        log(f"Wrote {path}")
    return studies


def route_corpus(model, tokenizer, batches, label_of=None):
    """Run a corpus through a translator and collect its routing.

    Args:
        model: `Translator`.
        tokenizer: `Tokenizer`.
        batches: Batches of `evaluation_batches`.
        label_of: List of a label for each sentence of the corpus, or None.

    Returns:
        dict of `RoutedTokens`, by the name of the layer.
    """
    route = tf.function(
        lambda batch: _route(model, batch),
        reduce_retracing=True,
        autograph=False,
    )
    encoder = {layer.name for layer in routing_layers(model.encoder)}
    routed = {
        layer.name: RoutedTokens(layer.num_experts)
        for layer in routing_layers(model)
    }
    for batch in batches:
        batch_of = {name: batch[name].numpy() for name in batch}
        for name, (expert_BTK, gate_BTK) in route(batch).items():
            side = "source" if name in encoder else "target_in"
            rows = zip(expert_BTK.numpy(), gate_BTK.numpy(), strict=True)
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
                routed[name].add(
                    tokenizer.pieces(ids[:length]),
                    expert_TK[:length],
                    gate_TK[:length],
                    label=label_of and label_of[index],
                    **factors,
                )
    return routed


def _route(model, batch):
    with uncounted(model), collected_routing(model) as routings:
        model(batch, training=False)
    return {r.layer.name: (r.expert_index, r.gate) for r in routings}


def _read_labels(path, num_sentences):
    if path is None:
        return None
    labels = list(read_lines(local_path(path)))
    if len(labels) != num_sentences:
        raise CorpusError(
            f"{path} must have a label for each of the {num_sentences} "
            f"sentences; it has {len(labels)}."
        )
    return labels


def _join(pieces):
    return "".join(pieces).replace(_WORD_BEGIN, " ")

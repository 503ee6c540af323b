"""Shows a run of the translator to the person who started it."""

import re
import shlex

from trainers.engine.config.overrides import show_fields
from trainers.engine.precision import slow_precision
from trainers.engine.routing_table import show_routing
from translation.model.sizes import count_ops, count_parameters
from translation.text.directions import parse_directions


def show_config(config, log):
    """Shows the effective configuration and the size of the model."""
    show_fields(config, log)
    parameters, ops = count_parameters(config.model), count_ops(config.model)
    log(
        f"Parameters: {parameters.total:,} in all, {parameters.active:,} "
        "active for a token."
    )
    log(
        f"Ops per timestep: {ops.total:,} multiply-adds "
        f"(LSTM {ops.lstm:,}, experts {ops.experts:,}, "
        f"attention {ops.attention + ops.context:,}, "
        f"softmax {ops.softmax:,}; gates {ops.gates:,} not counted)."
    )
    slow = slow_precision(config.precision)
    if slow:
        log(slow)


def show_results(results, log):
    """Shows scores, translations and routing."""
    log("")
    for example in results["examples"]:
        if "direction" in example:
            log(f"  {example['direction']}")
        log(f"  source       {example['source']}")
        log(f"  translation  {example['translation']}")
        log(f"  reference    {example['reference']}")
        log("")
    show_routing(results["routing"], log)
    log("")
    log(f"Perplexity {results['perplexity']:.3f} for each subword")
    log(f"Beam search {results['sentences_per_second']:.1f} sentences/s")
    if "directions" in results:
        show_directions(results, log)
        return
    log(f"BLEU {results['bleu']:.2f}  {results['signature']}")
    log(
        f"BLEU {results['bleu_lowercased']:.2f}  "
        f"{results['signature_lowercased']}"
    )
    if "chrf" in results:  # a folder of an earlier version may lack it
        log(f"chrF {results['chrf']:.2f}  {results['signature_chrf']}")


def show_directions(results, log):
    """Shows a table of the directions, and the means of their scores."""
    log("")
    log("direction    pairs  perplexity   BLEU   chrF  tokenizer of BLEU")
    for name, figures in results["directions"].items():
        tokenizer = re.search(r"tok:([^|]+)", figures["signature"])[1]
        log(
            f"{name:<11} {figures['pairs']:>6,}  {figures['perplexity']:>10.3f}"
            f"  {figures['bleu']:>5.2f}  {figures['chrf']:>5.2f}  {tokenizer}"
        )
    log(
        f"{'mean':<11} {'':>6}  {'':>10}  {results['bleu']:>5.2f}  "
        f"{results['chrf']:>5.2f}"
    )
    signature = next(iter(results["directions"].values()))
    log(f"BLEU {signature['signature']}, with the tokenizers above")
    log(f"chrF {signature['signature_chrf']}")


def show_next_commands(pair, folder, log):
    """Shows commands to go on with.

    Args:
        pair: str. The directions of the model.
        folder: `ModelFolder`.
        log: Function of one line of text.
    """
    path = shlex.quote(str(folder.path))
    program = f"python -m trainers.nmt --model_dir={path}"
    log("")
    log("Go on with:")
    targets = parse_directions(pair).target_tokens
    target = f" --target={targets[0]}" if targets else ""
    log(f"  echo 'Text.' | {program} --mode=translate{target}")
    log(f"  {program} --mode=evaluate --test=PREFIX")
    log(f"  {program} --mode=export")
    log(f"  python -m moe_keras.report {path}")
    log(f"  tensorboard --logdir={path}/logs")

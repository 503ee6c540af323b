"""Shows a run of the language model to the person who started it."""

import shlex

from language_model.sizes import count_sizes
from trainers.engine.config.overrides import show_fields
from trainers.engine.precision import slow_precision
from trainers.engine.routing_table import show_routing


def show_config(config, log):
    """Shows the effective configuration and the size of the model."""
    show_fields(config, log)
    sizes = count_sizes(config.model)
    log(
        f"Parameters: {sizes.total:,} in all, {sizes.parameters:,} without "
        f"embedding and softmax, {sizes.active:,} of them active for a token."
    )
    log(
        f"Ops per timestep: {sizes.ops:,} multiply-adds without the softmax, "
        f"which has {sizes.softmax_ops:,}."
    )
    slow = slow_precision(config.precision)
    if slow:
        log(slow)


def show_results(results, log):
    """Shows samples, experts and perplexities, by label if there are labels."""
    log("")
    for sample in results.get("samples", ()):
        log(f"  {sample}")
    log("")
    show_routing(results["routing"], log)
    log("")
    log(
        f"Perplexity {results['perplexity']:.2f} for each word, "
        f"{results['subword_perplexity']:.2f} for each of "
        f"{results['vocabulary']}; "
        f"{results['bits_per_character']:.4f} bits for each character "
        f"({results['words']:,} words, {results['lines']:,} lines)"
    )
    by_label = results.get("by_label", {})
    if by_label:
        width = max(map(len, by_label))
        log(f"  {'label':{width}}  {'words':>10}  {'perplexity':>10}")
    for label, found in by_label.items():
        log(
            f"  {label:{width}}  {found['words']:>10,}  "
            f"{found['perplexity']:>10.2f}"
        )


def show_next_commands(folder, log):
    """Shows commands to go on with."""
    path = shlex.quote(str(folder.path))
    program = f"python -m trainers.lm --model_dir={path}"
    log("")
    log("Go on with:")
    log(f"  echo 'Text' | {program} --mode=generate --samples=3")
    log(f"  echo 'Text' | {program} --mode=score")
    log(f"  {program} --mode=export --set temperature=0.7")
    log(f"  {program} --mode=evaluate --test=FILE --labels=FILE")
    log(f"  python -m moe_keras.report {path}")
    log(f"  tensorboard --logdir={path}/logs")

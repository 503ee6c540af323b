"""Our translator beside Eole's, by turns: target tokens/s and sentences/s.

Eole (https://github.com/eole-nlp/eole, version 0.6.4) has to be installed in
an environment of its own:

    python -m venv /path/to/eole && /path/to/eole/bin/pip install \
        eole==0.6.4 torch aiohttp
    python benchmarks/peer.py --peer=/path/to/eole/bin/eole --work=peer \
        --train=PREFIX --test=PREFIX

The peer is a 2-layer bidirectional LSTM encoder and a 2-layer LSTM decoder of
256 with attention and input feeding, on the same subwords: 3.3 million
multiply-adds for a source and a target token, where ours has 3.0 million. Each
goes on training for `--minutes` in its turn, with all cores; then each
translates the test set, also by turns. Speeds are those that the two report
themselves, without starting up.
"""

import json
import pathlib
import re
import statistics
import subprocess
import sys

import sentencepiece
from absl import app, flags

from translation.text.corpora.corpus import open_corpus

FLAGS = flags.FLAGS
flags.DEFINE_string("peer", None, "Eole's program.", required=True)
flags.DEFINE_string("work", "peer", "Folder for both models.")
flags.DEFINE_string("pair", "en-de", "Languages.")
flags.DEFINE_string("train", None, "Training corpus, a prefix.", required=True)
flags.DEFINE_string("test", None, "Test corpus, a prefix.", required=True)
flags.DEFINE_multi_string(
    "ours",
    ["--strategy=mirrored", "--devices=2", "--layout=experts:replica"],
    "Flags of our trainer; by default those that are fastest on two cores.",
)
flags.DEFINE_integer("rounds", 3, "Turns of each.", lower_bound=1)
flags.DEFINE_integer("minutes", 2, "Of training in each turn.", lower_bound=1)

_CONFIG = """
seed: 1
src_vocab: {work}/vocabulary.txt
tgt_vocab: {work}/vocabulary.txt
share_vocab: true
src_vocab_size: {size}
tgt_vocab_size: {size}
save_data: {work}/saved
overwrite: true
report_every: 20
data:
  train: {{path_src: {work}/train.source, path_tgt: {work}/train.target}}
model:
  architecture: custom
  embeddings: {{word_vec_size: 256}}
  encoder: {{encoder_type: brnn, layers: 2, hidden_size: 256}}
  decoder: {{decoder_type: rnn, layers: 2, hidden_size: 256,
    bidirectional_encoder: true, global_attention: general}}
training:
  model_path: {work}/peer
  {start}
  batch_type: tokens
  batch_size: 900
  batch_size_multiple: 1
  train_steps: {steps}
  save_checkpoint_steps: {steps}
  optim: adam
  learning_rate: 0.001
  dropout: [0.3]
  label_smoothing: 0.1
  max_grad_norm: 5.0
  param_init: 0.1
  world_size: 0
  gpu_ranks: []
  num_workers: 0
  bucket_size: 30000
  compute_dtype: fp32
"""


class Ours:
    """`trainers.nmt` with the multi30k preset."""

    def __init__(self, work):
        self.folder = work / "ours"
        self.minutes = 0

    def train(self):
        """Goes on for a turn; returns tokens/s of each line of progress."""
        self.minutes += FLAGS.minutes
        text = _run(
            *self._program(),
            *FLAGS.ours,
            f"--train={FLAGS.train}",
            f"--dev={FLAGS.test}",
            f"--test={FLAGS.test}",
            f"--set=max_minutes={self.minutes}",
            "--set=evaluate_every=1000000",
        )
        return _numbers(r"([\d,]+) tokens/s", text)[1:]

    def translate(self):
        """Seconds for the test set."""
        text = _run(*self._program(), "--mode=evaluate", f"--test={FLAGS.test}")
        speed = _numbers(r"Beam search ([\d.]+) sentences/s", text)[-1]
        return len(_sides("test")[0]) / speed

    def _program(self):
        return (
            sys.executable,
            "-m",
            "trainers.nmt",
            "--preset=multi30k",
            f"--pair={FLAGS.pair}",
            f"--model_dir={self.folder}",
        )


class Peer:
    """Eole, in the steps that take about as long as a turn of ours."""

    def __init__(self, work):
        self.work = work
        self.vocabulary = work / "vocabulary.txt"
        self.steps = 0
        self.steps_per_turn = 100  # the first turn tells how fast it is

    def train(self):
        """Goes on for a turn; returns tokens/s of each line of progress."""
        start = f"train_from: {self.work}/peer" if self.steps else ""
        self.steps += self.steps_per_turn
        config = self.work / "peer.yaml"
        config.write_text(
            _CONFIG.format(
                work=self.work.resolve(),
                size=len(self.vocabulary.read_text().splitlines()) + 4,
                steps=self.steps,
                start=start,
            )
        )
        text = _run(FLAGS.peer, "train", "-config", config)
        seconds = _numbers(r"(\d+) sec;", text)
        lines = max(len(seconds) - 1, 1)
        per_step = (seconds[-1] - seconds[0]) / (20 * lines)
        self.steps_per_turn = int(60 * FLAGS.minutes / max(per_step, 1e-3))
        return _numbers(r"/ *(\d+) tok/s", text)[1:]

    def translate(self):
        """Seconds for the test set."""
        text = _run(
            FLAGS.peer,
            "predict",
            "-model_path",
            self.work / "peer",
            "-src",
            self.work / "test.source",
            "-output",
            self.work / "peer.out",
            "-beam_size",
            5,
            "-batch_size",
            64,
            "-report_time",
        )
        first = _numbers(r"Step 0 time \(s\): ([\d.]+)", text)
        rest = _numbers(r"including all \(s\): ([\d.]+)", text)
        return sum(first) + rest[-1]


def _run(*command):
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def _numbers(pattern, text):
    return [float(x.replace(",", "")) for x in re.findall(pattern, text)]


def _sides(split):
    corpus = open_corpus(getattr(FLAGS, split), FLAGS.pair, split)
    return list(zip(*corpus.pairs(), strict=True))


def _write_subwords(work):
    """The corpora in the subwords of our tokenizer, for the peer to read."""
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(work / "ours" / "tokenizer.model")
    )
    # Behind pad, bos, eos and unk, which the peer has of its own.
    pieces = map(processor.id_to_piece, range(4, processor.vocab_size()))
    (work / "vocabulary.txt").write_text(
        "".join(f"{piece}\t1\n" for piece in pieces)
    )
    for split in ("train", "test"):
        for name, texts in zip(
            ("source", "target"), _sides(split), strict=True
        ):
            rows = processor.encode(list(texts), out_type=str)
            (work / f"{split}.{name}").write_text(
                "".join(" ".join(row) + "\n" for row in rows)
            )


def main(_):
    work = pathlib.Path(FLAGS.work)
    ours, peer = Ours(work), Peer(work)
    speeds = {"ours": [], "peer": []}
    for turn in range(FLAGS.rounds):
        speeds["ours"] += ours.train()
        if turn == 0:
            _write_subwords(work)
        speeds["peer"] += peer.train()
        print(json.dumps({"tokens_per_second": speeds}), flush=True)
    seconds = {"ours": [], "peer": []}
    for _ in range(FLAGS.rounds):
        seconds["ours"].append(ours.translate())
        seconds["peer"].append(peer.translate())
        print(json.dumps({"seconds": seconds}), flush=True)
    report = {}
    for name in speeds:
        report[name] = {
            "target_tokens_per_second": statistics.median(speeds[name]),
            "seconds_for_the_test_set": statistics.median(seconds[name]),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    app.run(main)

"""Serves a trained model: REST as TensorFlow Serving has it, and a page.

  python -m trainers.serve runs/mine

MODEL_DIR is the folder of a run with exports, a folder of exported versions,
or one of them. Then, in a browser: http://127.0.0.1:8501/, or

  curl -d '{"instances": ["Where is the station?"]}' \\
    localhost:8501/v1/models/nmt:predict

For other machines, with a token that clients send as "Authorization: Bearer":

  MOE_SERVE_TOKEN=... python -m trainers.serve runs/mine --host=0.0.0.0

Versions that are exported meanwhile are taken up. SIGTERM finishes what was
asked and ends with 0. docs/serving.md says what else there is.
"""

import logging
import os
import pathlib
import sys

from absl import app, flags

from trainers.engine.program import entry

_TOKEN = "MOE_SERVE_TOKEN"

_HOST = flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "Address to listen on. One that other machines reach, as 0.0.0.0, needs a "
    "token or --open.",
)
_PORT = flags.DEFINE_integer(
    "port", 8501, "Port to listen on; 0 for any that is free.", 0, 65535
)
_NAME = flags.DEFINE_string(
    "model_name", None, "Name of the model in paths [nmt, or lm]."
)
_TOKEN_FILE = flags.DEFINE_string(
    "token_file",
    None,
    f"File with the token that requests must bring [that of {_TOKEN}].",
)
_OPEN = flags.DEFINE_bool("open", False, "Let everybody ask without a token.")
_MAX_BATCH = flags.DEFINE_integer(
    "max_batch", 64, "Sentences that requests share a call with.", 1
)
_DELAY = flags.DEFINE_float(
    "batch_delay_ms",
    5.0,
    "While requests come often, a call waits for more of them until none came "
    "for so long.",
    0.0,
)
_CALLS = flags.DEFINE_integer(
    "parallel_calls", 1, "Calls of the model at the same time.", 1
)
_MAX_WAITING = flags.DEFINE_integer(
    "max_waiting",
    512,
    "Sentences in the queue; beyond it requests are refused with 429.",
    1,
)
_MAX_BODY = flags.DEFINE_integer(
    "max_body_bytes", 1 << 20, "Bytes of a request's body.", 1
)
_MAX_ROWS = flags.DEFINE_integer("max_rows", 256, "Sentences of a request.", 1)
_MAX_CHARACTERS = flags.DEFINE_integer(
    "max_characters", 10_000, "Characters of a sentence.", 1
)
_TIMEOUT = flags.DEFINE_float(
    "timeout_seconds", 30.0, "Time that a request may take.", 0.001
)
_CONNECTIONS = flags.DEFINE_integer(
    "max_connections", 4000, "Connections at the same time.", 1
)
_KEEP = flags.DEFINE_integer(
    "keep_versions", 1, "How many of the newest versions are served.", 1
)
_POLL = flags.DEFINE_float(
    "poll_seconds", 2.0, "How often to look for new versions.", 0.01
)
_DRAIN = flags.DEFINE_float(
    "drain_seconds", 30.0, "Time to finish what was asked, after SIGTERM.", 0.0
)
_SAMPLE = flags.DEFINE_float(
    "sample_routing",
    0.01,
    "Share of the requests whose routing is counted for /metrics, while "
    "nothing else is running.",
    0.0,
    1.0,
)
flags.adopt_module_key_flags(entry)  # --version


def main(argv):
    """Does what the flags ask for; see the top of this file."""
    if len(argv) != 2:
        raise app.UsageError(
            f"Expected one MODEL_DIR. Received: {' '.join(argv[1:]) or 'none'}"
        )
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
        force=True,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        sys.exit(_serve(argv[1]))
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {error}")


def _serve(model_dir):
    token = _read_token()
    # Not before the flags are known to be right: TensorFlow takes seconds.
    try:
        import server.run
    except ModuleNotFoundError as error:
        raise OSError(
            f"The server needs {error.name}. Install it with: pip install "
            "'moe-keras[serve]' (in a checkout: pip install -e .[serve])"
        ) from error
    return server.run.serve(_options(model_dir, token, server.run))


def _options(model_dir, token, run):
    return run.ServeOptions(
        model_dir=model_dir,
        host=_HOST.value,
        port=_PORT.value,
        name=_NAME.value,
        token=token,
        open=_OPEN.value,
        batching=run.BatchOptions(
            max_rows=_MAX_BATCH.value,
            delay=_DELAY.value / 1000,
            threads=_CALLS.value,
            max_waiting=_MAX_WAITING.value,
        ),
        limits=run.Limits(
            max_body_bytes=_MAX_BODY.value,
            max_rows=_MAX_ROWS.value,
            max_characters=_MAX_CHARACTERS.value,
            timeout=_TIMEOUT.value,
        ),
        max_connections=_CONNECTIONS.value,
        keep_versions=_KEEP.value,
        poll_seconds=_POLL.value,
        drain_seconds=_DRAIN.value,
        sample_routing=_SAMPLE.value,
    )


def _read_token():
    """The token of the file or of the environment, or None.

    It is no flag: every user of a machine sees the flags of all processes.
    """
    if _TOKEN_FILE.value is None:
        token = os.environ.get(_TOKEN)
    else:
        token = pathlib.Path(_TOKEN_FILE.value).read_text("utf-8").strip()
        if not token:
            raise ValueError(f"--token_file={_TOKEN_FILE.value} is empty.")
    return token or None


if __name__ == "__main__":
    entry.run(main)

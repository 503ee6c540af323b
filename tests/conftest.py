"""What tests share: four logical CPUs on one machine, and a full disk."""

import os
import pathlib
import signal
import subprocess

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402  after the log level
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

# Tests run side by side. Also what `trainers.nmt` sets, too late when it is
# called here.
tf.config.threading.set_intra_op_parallelism_threads(1)
(_cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    _cpu, [tf.config.LogicalDeviceConfiguration()] * 4
)


@pytest.fixture(scope="session")
def two_replicas():
    """A strategy of two logical CPUs, one for all tests.

    A second one in the same process would number its collective operations
    from the start again, and meet the shapes of the first.
    """
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def four_replicas():
    """A strategy of four logical CPUs, without collective operations."""
    return tf.distribute.MirroredStrategy(
        [f"CPU:{number}" for number in range(4)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


@pytest.fixture
def bfloat16():
    """Layers that are made in the test compute in it."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 kB; mounting needs a privileged user."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(path)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr}")
    yield path
    # Lazily, because TensorFlow keeps a file open that it could not write.
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def foreground():
    """Signals are handled as in a program that a shell runs in the foreground.

    The tests themselves may run under nohup or cron, which ignore some.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def browser():
    """Chromium, for tests marked with `small_browser.NEEDS_CHROMIUM`."""
    from playwright.sync_api import sync_playwright
    from small_browser import CHROMIUM

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def pytest_collection_modifyitems(items):
    """Marks the tests of the files that `thorough.txt` lists."""
    folder = pathlib.Path(__file__).parent
    lines = (folder / "thorough.txt").read_text("utf-8").splitlines()
    thorough = {folder / line for line in lines if not line.startswith("#")}
    for item in items:
        if item.path in thorough:
            item.add_marker(pytest.mark.thorough)

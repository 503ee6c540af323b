"""Runs a program's `main`: parses flags, shows help, prepares the streams.

Importing this file imports no TensorFlow, so `--help` and `--version` answer
at once.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import runpy
import sys

from absl import app, flags

# Exit codes after Ctrl-C, and where nobody reads the output, as shells have it.
_INTERRUPTED, _UNREAD = 130, 141


def run(main):
    """Parses the flags, calls `main` and ends the process.

    Args:
        main: Function of a list of str, the program's name and the arguments
            that are no flags.

    Raises:
        SystemExit: 0 after `--help` and `--version`; 1 for a flag or a usage
            that is wrong, with one line on stderr; else what `main` ends with.
    """
    name_files_in_utf8()
    take_any_text()
    try:
        app.run(
            lambda argv: _without_usage_errors(main, argv),
            flags_parser=parse_flags,
        )
    except BrokenPipeError:  # as of `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_UNREAD)
    except KeyboardInterrupt:  # while Python still imports
        print("Stopped by Ctrl-C.", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def name_files_in_utf8():
    """Starts Python again in its UTF-8 mode where a locale has other names.

    TensorFlow names files in UTF-8. Under a locale such as ISO-8859-1 Python
    would name others: paths beyond ASCII would lead to two places, or fail.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return
    arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
    os.execv(sys.executable, arguments)  # in place of this process


def take_any_text():
    """Lets stdout and stderr escape characters that their encoding lacks.

    Otherwise a locale such as ISO-8859-1 ends a run at the first line that it
    cannot show.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # None where it is closed
            stream.reconfigure(errors="backslashreplace")


def parse_flags(argv):
    """Parses the command line.

    Args:
        argv: List of str, the program's name first.

    Returns:
        What is left of it without the flags.

    Raises:
        SystemExit: 0 after help, and a line for a flag that is wrong.
    """
    try:
        return flags.FLAGS(argv)
    except SystemExit:  # absl ends with 1 after it has shown its help
        sys.exit(0)
    except flags.Error as error:
        sys.exit(_usage_error(error))


def _without_usage_errors(main, argv):
    try:
        return main(argv)
    except app.UsageError as error:
        sys.exit(_usage_error(error))


def _usage_error(error):
    return f"Error: {str(error).rstrip('.')}. See --help."


def version():
    """The versions of the package and of what it stands on, as one line.

    The package itself is not imported, for it imports TensorFlow.
    """
    spec = importlib.util.find_spec("moe_keras")
    path = pathlib.Path(spec.origin).with_name("version.py")
    own = runpy.run_path(str(path))["__version__"]
    beneath = [
        f"{name} {importlib.metadata.version(name)}"
        for name in ("tensorflow", "keras")
    ]
    return (
        f"moe-keras {own} ({', '.join(beneath)}, Python "
        f"{platform.python_version()})"
    )


class _VersionFlag(flags.BooleanFlag):
    """Shows the version and ends the program, as the help flags of absl do."""

    def __init__(self):
        super().__init__(
            "version", False, "show the version", allow_hide_cpp=True
        )

    def parse(self, arg):
        if self._parse(arg):
            print(version())
            sys.exit(0)


flags.DEFINE_flag(_VersionFlag())

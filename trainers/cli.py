"""Console scripts. Each runs its trainer exactly as `python -m` would."""

import runpy


def nmt():
    runpy.run_module("trainers.nmt", run_name="__main__", alter_sys=True)


def lm():
    runpy.run_module("trainers.lm", run_name="__main__", alter_sys=True)


def serve():
    runpy.run_module("trainers.serve", run_name="__main__", alter_sys=True)

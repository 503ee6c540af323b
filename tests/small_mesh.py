"""The small training run with experts on workers' devices, as a program.

`python tests/small_mesh.py FOLDER STEPS ADDRESS,ADDRESS,... RULES [SECONDS]`
where an evaluation takes so many seconds.
"""

import functools
import sys

from small_workers import train

from moe_keras.parallel.processes.cluster import cluster_of
from moe_keras.parallel.processes.heartbeat import WorkerLost
from moe_keras.parallel.processes.strategies import start_workers


def main(folder, steps, addresses, rules, seconds="0"):
    cluster = cluster_of(addresses, 0)
    say = functools.partial(print, flush=True)
    try:
        workers = start_workers(
            cluster=cluster,
            layout=rules,
            mesh_shape=f"all:{len(cluster.others)}",
        )
        with workers:
            loop = train(
                folder,
                int(steps),
                workers,
                is_random=True,
                seconds=float(seconds),
                log=say,
            )
    except (ValueError, WorkerLost) as error:
        sys.exit(f"Error: {error}")
    for variable in loop.optimizer.variables:
        say(variable.value.device)


if __name__ == "__main__":
    main(*sys.argv[1:])

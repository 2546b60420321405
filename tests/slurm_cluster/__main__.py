"""A cluster by hand, until Ctrl-C: `python tests/slurm_cluster [NODES]`, then what it prints."""

import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from slurm_cluster.cluster import SlurmCluster


def main() -> None:
    """Start it, say how to use it, wait."""
    nodes = int(sys.argv[1]) if sys.argv[1:] else 4
    with (
        tempfile.TemporaryDirectory(prefix="raythena-slurm-", dir="/var/tmp", ignore_cleanup_errors=True) as place,
        SlurmCluster(Path(place), nodes) as cluster,
    ):
        print(f"export SLURM_CONF={place}/slurm.conf", flush=True)
        for node in cluster.nodes.values():
            print(f"{node}: {' '.join(map(str, node.inside(['bash'])))}", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", flush=True)


if __name__ == "__main__":
    main()

"""How Ray is set up for us, on every node alike: quiet, small, private.

Ray's own defaults suit long-lived clusters with many users. Ours lives as long as one job, so everything that starts processes,
sends usage data or listens for people is off, and nobody without the token gets in.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.job_config import JobConfig

OBJECT_STORE_BYTES = 80_000_000
"""Ray's minimum is 75 MB; messages of ours travel inline, the store stays empty."""

_SETTINGS = {
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_num_workers_soft_limit": "1",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # it would end coordinator and agents; payloads are watched by us
    "RAY_worker_oom_score_adjustment": "0",  # nor shall the kernel take them first
    "RAY_DEDUP_LOGS": "0",
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_pipe_based_agent_to_parent_health_check": "1",  # see `ray_start`
}


def ray_environment(token_file: Path) -> dict[str, str]:
    """Environment variables every Ray process of a cluster needs, the driver included."""
    return {**_SETTINGS, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}


_NOT_INHERITED = ("RAY_", "GRPC_", "PYTHON")
_INHERITED = {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUTF8", "PYTHONHASHSEED"}


def without_ray(names: Iterable[str]) -> list[str]:
    """Those variables that change what Ray or the Python it runs in does, and that ours must not obey.

    They are left by an earlier or another Ray, or were set for other programs: `RAY_REDIS_ADDRESS`, `PYTHONWARNINGS=error`.
    """
    return [name for name in names if name.startswith(_NOT_INHERITED) and name not in _INHERITED]


def own_paths_only() -> JobConfig:
    """A job of Ray's whose workers import from where they would anyway: Ray puts the driver's directory before all else."""
    from ray.job_config import JobConfig

    class OwnPathsOnly(JobConfig):
        """Takes no paths."""

        @property
        def _py_driver_sys_path(self) -> list[str]:
            return []

        @_py_driver_sys_path.setter
        def _py_driver_sys_path(self, paths: object) -> None:
            """Ray's constructor assigns one."""

    return OwnPathsOnly()


def write_token(path: Path, token: str = "") -> None:
    """Write a secret, a new one by default, to a new file that only its owner can read."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(token or secrets.token_hex(32))


def start_head(address: str, port: int, temporary: Path, cores: int, resource: str) -> list[str]:
    """Command line that starts the head node and stays with it.

    The monitor, which would ask a cloud for more nodes, has nobody to ask here.
    """
    only_head = ["--head", "--no-monitor", "--include-dashboard=false", f"--temp-dir={temporary}"]
    return [*_start(cores, resource), *only_head, f"--node-ip-address={address}", f"--port={port}"]


def start_node(head: str, address: str, cores: int, resource: str, *, temporary: Path | None = None, name: str = "") -> list[str]:
    """Command line that starts another node and stays with it. `head` is `host:port`; `temporary` None: the head's directory."""
    own = [f"--temp-dir={temporary}"] if temporary else []
    own += [f"--node-name={name}"] if name else []
    return [*_start(cores, resource), f"--address={head}", f"--node-ip-address={address}", *own]


def _start(cores: int, resource: str) -> list[str]:
    return [
        sys.executable,
        "-P",
        "-m",
        "raythena.launch.ray_start",
        "start",
        "--block",
        "--disable-usage-stats",
        "--include-log-monitor=false",
        f"--object-store-memory={OBJECT_STORE_BYTES}",
        f"--num-cpus={cores}",
        f'--resources={{"{resource}": {cores}}}',
    ]

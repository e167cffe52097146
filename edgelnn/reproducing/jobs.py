"""Trainings as independent jobs, handed to joblib: the cores of this machine, or a cluster that joblib knows.

All that passes between a job and whoever waits for it lies in the folder of the reproduction, which every worker must
see. A job that is done again, since its worker was lost, goes on from the checkpoint of the first attempt.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgelnn.atomic import hold_folder, write_text_atomically
from edgelnn.errors import ConfigError, EdgelnnError, MissingExtraError, TrainingError, WriteError
from edgelnn.reproducing.plan import Plan

__all__ = ["Cluster", "Outcome", "predictions_path", "run_jobs"]

TOKEN = "shared.txt"
WHAT = "system.txt"
AS_THEY_COME = "generator_unordered"
_ONE_AT_A_TIME = threading.Lock()
"""Trainings draw from torch's random numbers, of which a process has one source: two threads would share it."""


@dataclass(frozen=True)
class Cluster:
    """Where jobs are done.

    Attributes:
        backend: Of joblib: ``loky`` (processes on this machine), ``dask``, ``ray``, or another that is registered.
        address: Of the cluster's scheduler; empty for the backend's own.
        workers: Jobs at a time; None: as many as there are cores. A cluster decides for itself.
        threads: That each job computes with; None: the cores of this machine shared out, on a cluster 1.
    """

    backend: str = "loky"
    address: str = ""
    workers: int | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one job.

    Attributes:
        name: The job's.
        error: Why it failed, in one line; empty where it did not.
    """

    name: str
    error: str = ""


def run_jobs(plan: Plan, cluster: Cluster) -> Iterator[Outcome]:
    """Do what is left to do of a plan; yield outcomes as they come, in any order.

    Raises:
        ConfigError: There is no such backend, or no cluster at the address.
        MissingExtraError: The backend's package is not installed.
        TrainingError: Workers were lost more often than the backend bears.
        WriteError: The folder cannot be written, or another process works in it.
    """
    from joblib import Parallel, delayed

    from edgelnn.training.loading import format_experiment

    folder, jobs = plan.folder.resolve(), plan.jobs
    token = secrets.token_hex(16)
    local = cluster.backend == "loky"
    cores = len(os.sched_getaffinity(0))
    workers = min(cluster.workers or cores, len(jobs), cores if local else len(jobs))
    threads = cluster.threads or (max(1, cores // workers) if local else 1)
    _claim(folder, plan.system.name)
    # All arguments are texts and numbers: larger objects, Dask keeps on single workers, and loses with them.
    calls = [
        delayed(_run_job)(format_experiment(job.experiment), str(folder), job.name, threads, token) for job in jobs
    ]
    with hold_folder(folder, busy=f"another process reproduces in {folder}. Wait for it, or stop it."):
        write_text_atomically(folder / TOKEN, token)
        with _backend(cluster, workers, threads) as settings:
            parallel = Parallel(**settings, batch_size=1, pre_dispatch="all")
            try:
                for name, error in parallel(calls):
                    yield Outcome(name, error)
            except Exception as error:  # jobs tell their own failures: what comes here is of who was to do them
                raise TrainingError(
                    f"workers were lost ({type(error).__name__}), as happens where memory runs out: try fewer --jobs. "
                    "What is trained is kept; the same command goes on."
                ) from error


def _claim(folder: Path, system: str) -> None:
    """Make the folder of a reproduction; raise `WriteError` where it is that of another system."""
    before = (folder / WHAT).read_text("utf-8").strip() if (folder / WHAT).exists() else system
    if before != system:
        raise WriteError(f"{folder} holds a reproduction of {before}, not of {system}. Choose another with --out.")
    write_text_atomically(folder / WHAT, f"{system}\n")


def predictions_path(folder: Path, name: str) -> Path:
    """Return where the answers of a job's run are kept."""
    return folder / "predictions" / f"{name}.npz"


def _run_job(experiment_toml: str, folder: str, name: str, threads: int, token: str) -> tuple[str, str]:
    """Do one job, or what is left of it; return its name and why it failed, if it did."""
    try:
        with _ONE_AT_A_TIME:
            _train(experiment_toml, Path(folder), name, threads, token)
    except EdgelnnError as error:
        return name, str(error)
    except Exception as error:  # told with the others' results, which a fault of one job must not cost
        return name, f"{type(error).__name__}: {error} (a fault in edgelnn, or in a package it uses)"
    return name, ""


def _train(experiment_toml: str, folder: Path, name: str, threads: int, token: str) -> None:
    """Train, unless that is done, and keep what the run answers to the test split."""
    import tomllib

    from edgelnn.reproducing.plan import RUNS
    from edgelnn.reproducing.predictions import has_predictions, write_predictions
    from edgelnn.run import ENVIRONMENT, METRICS, Run
    from edgelnn.training.experiment import Experiment
    from edgelnn.training.loading import load_experiment_dataset
    from edgelnn.training.trainer import train

    seen = (folder / TOKEN).read_text("utf-8") if (folder / TOKEN).exists() else ""
    if seen != token:
        raise ConfigError(f"{socket.gethostname()} does not see {folder}: workers need a file system that all share.")
    experiment = Experiment.model_validate(tomllib.loads(experiment_toml))
    place, answers = folder / RUNS / name, predictions_path(folder, name)
    dataset = None
    if not (place / METRICS).exists():
        dataset = load_experiment_dataset(experiment.data, download=False)
    begun = (place / ENVIRONMENT).exists()
    run = train(experiment, folder=place, dataset=dataset, resume=begun, threads=None if begun else threads)
    if not has_predictions(answers, run):
        write_predictions(answers, Run.load(place), dataset or run.load_dataset())


@contextlib.contextmanager
def _backend(cluster: Cluster, workers: int, threads: int) -> Iterator[dict[str, Any]]:
    """Give the settings of `joblib.Parallel` for where jobs are to be done, with whatever they need being there."""
    from joblib import parallel_config

    if cluster.backend == "loky":
        if cluster.address:
            raise ConfigError(f"got --address {cluster.address} for this machine; only a cluster has an address.")
        with parallel_config(backend="loky", inner_max_num_threads=threads):
            yield {"n_jobs": workers, "return_as": AS_THEY_COME}
        return
    with contextlib.ExitStack() as stack:
        if cluster.backend == "dask":
            stack.enter_context(_dask_client(cluster.address))
        elif cluster.backend == "ray":
            _connect_ray(cluster.address)
        elif cluster.address:
            raise ConfigError(f"got --address for --backend {cluster.backend}; of those, dask and ray take one.")
        try:
            stack.enter_context(parallel_config(backend=cluster.backend))
        except (ValueError, KeyError) as error:
            raise ConfigError(
                f'got --backend "{cluster.backend}"; joblib knows loky, dask, ray and what is registered: {error}.'
            ) from error
        # Ray's backend tells all outcomes at once, at the end.
        yield {"n_jobs": cluster.workers or -1, "return_as": "list" if cluster.backend == "ray" else AS_THEY_COME}


def _dask_client(address: str) -> Any:
    """Return a client of the Dask scheduler at an address."""
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise MissingExtraError("--backend dask", "dask", "cluster") from error
    if not address:
        raise ConfigError("got --backend dask without --address; expected that of its scheduler: tcp://HOST:8786.")
    try:
        return Client(address, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise ConfigError(f"no Dask scheduler answers at {address}: {error}. Start one: dask scheduler") from error


def _knock(address: str) -> None:
    """Raise `OSError` where nothing listens at ``HOST:PORT``: Ray itself would try for two minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


def _connect_ray(address: str) -> None:
    """Join the Ray cluster at an address, or start one on this machine."""
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ConfigError("--backend ray needs ray: pip install ray") from error
    try:
        _knock(address)
        ray.init(address=address or None, ignore_reinit_error=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"no Ray cluster answers at {address}: {error}. Start one: ray start --head") from error
    register_ray()

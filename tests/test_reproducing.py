"""Published systems trained anew: a plan of trainings, done anywhere and in any order, and one page about them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgelnn.atomic import hold_folder
from edgelnn.errors import ConfigError, TrainingError, WriteError
from edgelnn.reproducing import (
    Cluster,
    changes_from_reference,
    compare_with_published,
    find_system,
    gather,
    plan_reproduction,
    run_jobs,
    write_page,
)
from edgelnn.reproducing.blocks import Grid, Items, Picture, Text, write_html
from edgelnn.reproducing.jobs import _run_job, predictions_path
from edgelnn.reproducing.progress import share_done
from edgelnn.reproducing.verdicts import Measured, published_for
from edgelnn.run import Run
from edgelnn.training import format_experiment, load_experiment
from edgelnn.training.data_specification import RepeatSpec
from edgelnn.training.reference import Published
from tests.helpers import assert_one_clear_line, files_under, run_cli

SHORT = ["data.name=phantoms", "training.epochs=2"]


def plan(folder: Path, **more: object):
    settings = {"seeds": 2, "only": ["dnn"], "overrides": SHORT, **more}
    return plan_reproduction(find_system("breast-lnn"), folder, **settings)


def work(planned) -> None:
    """Do the trainings of a plan here, as a worker would."""
    (planned.folder).mkdir(exist_ok=True)
    (planned.folder / "shared.txt").write_text("token")
    for job in planned.jobs:
        assert _run_job(format_experiment(job.experiment), str(planned.folder), job.name, 1, "token") == (job.name, "")


NOTES = {"A": ("Of both.",), "B": ("Of both.", "Of one.")}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """Two short trainings of the dense network on phantoms."""
    planned = plan(tmp_path_factory.mktemp("reproduction") / "out")
    work(planned)
    return planned


def test_a_plan_has_every_model_once_before_any_again(tmp_path: Path) -> None:
    planned = plan_reproduction(find_system("medmnist3d-ltc"), tmp_path, only=["exp5n2", "LiqExp1*"])
    names = [job.name for job in planned.jobs]
    assert names[:5] == [
        "medmnist3d-liqexp1n2-0",
        "medmnist3d-liqexp1n5-0",
        "medmnist3d-liqexp1n6-0",
        "medmnist3d-lstmexp5n2-0",
        "medmnist3d-lstmexp5n2-over-batch-0",
    ]
    assert len(names) == 15
    assert planned.jobs[5].experiment.training.seed == 1
    assert planned.changes == ()
    assert planned.command == "edgelnn reproduce medmnist3d-ltc --seeds 3 --only exp5n2 --only 'LiqExp1*'"


def test_a_system_published_over_several_splits_draws_them_anew(tmp_path: Path) -> None:
    planned = plan_reproduction(find_system("crnet-ncp"), tmp_path, only=["crnet-fc1"])
    assert [job.name for job in planned.jobs] == [f"crnet-fc1-{seed}" for seed in range(7)]
    assert [job.experiment.data.resplit for job in planned.jobs] == [RepeatSpec(repeat=one) for one in range(1, 8)]
    assert planned.changes == ()
    assert all(changes_from_reference(job.experiment) == () for job in planned.jobs)
    fold = load_experiment("crnet-fc1", ['data.resplit={kind="fold", fold=1, folds=5}'])
    assert len(changes_from_reference(fold)) == 1
    own = plan_reproduction(
        find_system("crnet-ncp"), tmp_path, only=["crnet-fc1"], overrides=['data.resplit={kind="repeat", repeat=9}']
    )
    assert {job.experiment.data.resplit for job in own.jobs} == {RepeatSpec(repeat=9)}
    assert (planned.new_splits, own.new_splits) == (True, False)
    assert own.changes == ("data.resplit is another draw in every training there and the same in all now",)


def test_trainings_with_test_splits_of_their_own_are_averaged_too(done, tmp_path: Path) -> None:
    shutil.copytree(done.folder, tmp_path / "out")
    planned = plan(tmp_path / "out")
    file = predictions_path(planned.folder, planned.jobs[1].name)
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    few = {name: kept[name][:100] for name in ("probabilities", "labels")}
    np.savez(file, weights=kept["weights"], **few)
    (row,) = gather(planned).rows
    (before,) = gather(done).rows
    assert row.measured["accuracy"].values[0] == before.measured["accuracy"].values[0]
    right = (few["probabilities"].argmax(1) == few["labels"]).mean()
    assert row.measured["accuracy"].values[1] == pytest.approx(right)
    assert row.measured["auc"].low <= row.measured["auc"].mean <= row.measured["auc"].high


def test_other_published_data_are_no_change_and_others_are() -> None:
    nodules = load_experiment("medmnist3d-liqexp1n2", ["data.name=nodulemnist3d", "training.seed=5", "data.root=/x"])
    assert changes_from_reference(nodules) == ()
    breasts = load_experiment("safipatel-lnn", ["data.name=phantoms", "training.epochs=3", "head.units=20"])
    assert changes_from_reference(breasts) == (
        "head.units is 19 there and 20 now",
        "training.epochs is 50 there and 3 now",
        "data.name is breastmnist there and phantoms now",
    )
    with pytest.raises(ConfigError, match="reproduces no published model"):
        changes_from_reference(load_experiment("phantoms"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["breast-lnnn"], 'did you mean "breast-lnn"'),
        (["breast-lnn", "--only", "nothing"], "breast-lnn has safipatel-lnn, safipatel-dnn"),
        (["breast-lnn", "--set", "training.epoch=3"], 'did you mean "epochs"'),
        (["breast-lnn"], "breastmnist.npz"),
        (["breast-lnn", "--set", "data.name=phantoms", "--backend", "dask"], "without --address"),
        (["breast-lnn", "--set", "data.name=phantoms", "--backend", "dusk"], "joblib knows loky, dask, ray"),
        (["breast-lnn", "--set", "data.name=phantoms", "--address", "tcp://here:1"], "only a cluster has an address"),
    ],
)
def test_what_cannot_be_reproduced_is_one_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgelnn.data.medmnist_files.download_file", lambda *_, **__: pytest.fail("downloads"))
    if words == ["breast-lnn"]:
        words = ["breast-lnn", "--set", f"data.name={tmp_path / 'breastmnist.npz'}"]
    assert_one_clear_line(run_cli("reproduce", *words, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out" / "runs").exists()


def test_the_systems_are_listed() -> None:
    listed = run_cli("reproduce", "--json").json
    assert [one["name"] for one in listed] == [
        "brain-mri",
        "breast-lnn",
        "crnet-ncp",
        "medmnist3d-ltc",
        "mnist-reservoir",
    ]
    assert "breast-lnn" in run_cli("reproduce").out


def test_figures_are_means_over_trainings_with_intervals_around_them(done) -> None:
    found = gather(done)
    (row,) = found.rows
    runs = [Run.load(job.folder) for job in done.jobs]
    assert row.measured["auc"].values == pytest.approx([run.metrics["test"].auc for run in runs])
    assert row.measured["accuracy"].values == pytest.approx([run.metrics["test"].accuracy for run in runs])
    assert row.measured["f1"].values == pytest.approx([run.metrics["test"].f1 for run in runs])
    assert found.f1_class == "malignant"
    for figure in row.measured.values():
        assert figure.low <= figure.mean <= figure.high
        assert figure.sd == pytest.approx(np.std(figure.values, ddof=1))
    assert row.parameters == {"trainable": 935_298, "stored": 935_298, "active": 935_298}
    assert (row.published, row.comparisons) == (None, ())
    assert [entry.data for entry in row.elsewhere] == ["breastmnist"]
    assert found.missing == ()
    assert share_done(done) == 1.0


def test_the_command_does_what_is_missing_and_writes_a_page_of_its_own(done, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(done.folder, folder)
    shutil.rmtree(folder / "runs" / "safipatel-dnn-1")
    before = files_under(folder / "runs" / "safipatel-dnn-0")
    words = ["breast-lnn", "--only", "dnn", "--seeds", "2", "--set", SHORT[0], "--set", SHORT[1]]
    outcome = run_cli("reproduce", *words, "--out", folder, "--json", "--jobs", "1")
    assert outcome.code == 0, outcome.err
    assert files_under(folder / "runs" / "safipatel-dnn-0") == before, "what is finished is left alone"
    assert outcome.json["rows"][0]["seeds"] == [0, 1]
    assert "warning: not the published protocol: training.epochs is 50 there and 2 now" in outcome.err
    markdown, html = (folder / name for name in ("page.md", "page.html"))
    text, page = markdown.read_text("utf-8"), html.read_text("utf-8")
    loud = "Not the published protocol: training.epochs is 50 there and 2 now; data.name is breastmnist there"
    assert f"> **{loud}" in text
    assert f"<p class=warning>{loud}" in page
    assert "The images are synthetic" in page
    assert "Again: edgelnn reproduce breast-lnn --seeds 2 --only dnn --set data.name=phantoms" in text
    assert not re.search(r'(src|href)="(?!data:)', page), "one file, no network"
    for picture in re.findall(r"\]\((.+?)\)", text):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "results.json").read_text("utf-8"))["rows"] == outcome.json["rows"]


def test_a_training_of_another_experiment_is_not_mixed_in(done) -> None:
    words = ["breast-lnn", "--only", "dnn", "--set", SHORT[0], "--set", "training.epochs=3", "--out", done.folder]
    assert_one_clear_line(run_cli("reproduce", *words), "training.epochs is 2 there and 3 now", "--out")


def test_a_job_that_fails_is_told_and_costs_no_other(done, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(done.folder, folder)
    (folder / "runs" / "safipatel-dnn-1" / "metrics.json").unlink()
    (folder / "runs" / "safipatel-dnn-1" / "weights.safetensors").unlink()
    (folder / "runs" / "safipatel-dnn-1" / "checkpoint.safetensors").write_bytes(b"damaged")
    words = ["breast-lnn", "--only", "dnn", "--seeds", "2", "--set", SHORT[0], "--set", SHORT[1], "--out", folder]
    outcome = run_cli("reproduce", *words, "--json", "--jobs", "1")
    assert outcome.code == 1
    assert outcome.json["missing"] == ["safipatel-dnn-1"]
    assert "damaged or not safetensors" in outcome.json["failures"]["safipatel-dnn-1"]
    assert outcome.json["rows"][0]["seeds"] == [0]
    assert "Not finished: 1 of 2 trainings: safipatel-dnn (seed 1)." in (folder / "page.html").read_text("utf-8")


def test_answers_of_other_weights_are_not_taken_for_a_runs_own(done, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(done.folder, folder)
    shutil.copyfile(predictions_path(folder, "safipatel-dnn-0"), predictions_path(folder, "safipatel-dnn-1"))
    with pytest.raises(Exception, match="of other weights"):
        gather(plan(folder))
    work(plan(folder))
    assert len(gather(plan(folder)).rows[0].seeds) == 2


def test_a_worker_without_the_shared_folder_says_so(done) -> None:
    job = done.jobs[0]
    name, error = _run_job(format_experiment(job.experiment), "/nowhere", job.name, 1, "token")
    assert name == job.name
    assert "does not see /nowhere: workers need a file system that all share" in error


def test_sentences_are_computed() -> None:
    ours = {
        "auc": Measured((0.86, 0.90), 0.88, 0.02, 0.83, 0.93),
        "accuracy": Measured((0.70, 0.71, 0.72), 0.71, 0.01, 0.68, 0.74),
        "f1": Measured((0.5,), 0.5, None, 0.4, 0.6),
    }
    theirs = Published(data="x", auc=0.8897, accuracy=0.7949, f1=0.39, auc_sd=0.01, runs=7)
    auc, accuracy, f1 = compare_with_published(ours, theirs, images=156)
    assert auc.sentence == (
        "AUC: published 0.8897 ± 0.0100 (mean of 7) lies within our interval, 0.8300 to 0.9300; our trainings reach "
        "from 0.8600 to 0.9000."
    )
    assert (auc.within, accuracy.within, f1.within) == (True, False, False)
    assert accuracy.sentence == (
        "accuracy: published 0.7949 (mean of 7) lies outside our interval, 0.6800 to 0.7400: 0.0549 above it, 8.5 "
        "standard deviations from our mean; none of our 3 trainings got as high. In accuracy that is 13 of 156 images "
        "from our mean."
    )
    assert f1.sentence.endswith("0.0100 below it.")
    assert compare_with_published(ours, Published(data="x"), images=1) == ()
    reference = load_experiment("medmnist3d-liqexp4n6").reference
    assert published_for(reference, "vesselmnist3d").auc == 0.914
    assert published_for(reference, "phantoms") is None


def test_a_page_escapes_what_it_is_given() -> None:
    page = write_html("a<b", [Text("<script>"), Items(["&"]), Grid(["<"], [["'>"]]), Picture("p", '"', b"png")])
    assert "<script>" not in page
    assert 'alt="&quot;" src="data:image/png;base64,cG5n"' in page


def test_compare_published_puts_runs_beside_what_they_reproduce(done, tiny_run: Run, tmp_path: Path) -> None:
    first = done.jobs[0].folder
    outcome = run_cli("compare", "--published", first, "--json")
    assert outcome.code == 0, outcome.err
    (record,) = outcome.json["rows"]
    assert (record["model"], record["comparisons"]) == ("DNN", [])
    assert "training.epochs is 50 there and 2 now" in outcome.err
    assert "of DNN on phantoms nothing was published; on breastmnist" in outcome.err
    assert_one_clear_line(run_cli("compare", "--published", tiny_run.folder), "reproduces nothing that was published")


def test_compare_published_computes_differences(done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what was trained here had been trained on the published data."""
    published = Published(data="phantoms", auc=0.5, accuracy=0.9, f1=0.5, f1_class="malignant")
    monkeypatch.setattr("edgelnn.reproducing.verdicts.published_for", lambda *_: published)
    first = done.jobs[0].folder
    rows = run_cli("compare", "--published", first, first, "--json").json["rows"]
    test = Run.load(first).metrics["test"]
    figures = {one["figure"]: one for one in rows[1]["comparisons"]}
    assert figures["auc"]["difference"] == pytest.approx(test.auc - 0.5)
    assert figures["f1"]["difference"] == pytest.approx(test.f1 - 0.5)
    shown = run_cli("compare", "--published", first, "--markdown").out
    head, rule, *lines = [line for line in shown.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in (head, rule, *lines)} == {9}
    assert len(lines) == 3


@pytest.mark.slow
def test_a_dask_worker_that_is_killed_half_way_loses_nothing(tmp_path: Path) -> None:
    """Three trainings on three workers; one is killed in the middle of its training, which then goes on elsewhere."""
    pytest.importorskip("distributed", reason='dask is not installed: pip install "edgelnn[cluster]"')
    from dask.distributed import Client, LocalCluster

    settings = {"only": ["lnn"], "seeds": 3, "overrides": ["data.name=phantoms", "training.epochs=10"]}
    planned, straight = (plan(tmp_path / name, **settings) for name in ("spread", "straight"))
    killed: list[int] = []

    def kill() -> None:
        checkpoint = planned.jobs[0].folder / "checkpoint.safetensors"
        while not checkpoint.exists():
            time.sleep(0.05)
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            busy = [address for address, calls in client.call_stack().items() if "safipatel-lnn-0" in str(calls)]
            address = busy[0] if busy else next(iter(client.scheduler_info()["workers"]))
            pid = client.run(os.getpid, workers=[address])[address]
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    with LocalCluster(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        killer = threading.Thread(target=kill)
        killer.start()
        outcomes = list(run_jobs(planned, Cluster("dask", cluster.scheduler_address)))
        killer.join()
    assert killed
    assert sorted(outcome.name for outcome in outcomes) == sorted(job.name for job in planned.jobs)
    assert not [outcome for outcome in outcomes if outcome.error]
    work(straight)
    for spread, alone in zip(planned.jobs, straight.jobs, strict=True):
        assert (spread.folder / "weights.safetensors").read_bytes() == (
            alone.folder / "weights.safetensors"
        ).read_bytes()
    assert gather(planned).rows[0].measured == gather(straight).rows[0].measured


def test_a_ray_cluster_that_is_not_there_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SimpleNamespace(init=lambda **_: pytest.fail("asks Ray"), util=SimpleNamespace())
    joblib = SimpleNamespace(register_ray=lambda: None)
    for name, module in (("ray", ray), ("ray.util", ray.util), ("ray.util.joblib", joblib)):
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at 127\.0\.0\.1:9: .*refused"):
        next(run_jobs(plan(tmp_path), Cluster("ray", "127.0.0.1:9")))


@pytest.mark.slow
def test_a_ray_worker_that_is_killed_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the trainings beside it; the same command goes on from what all of them kept."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    settings = {"only": ["lnn"], "seeds": 2, "overrides": ["data.name=phantoms", "training.epochs=10"]}
    planned, straight = (plan(tmp_path / name, **settings) for name in ("spread", "straight"))
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        killer = threading.Thread(target=kill_ray_worker, args=(planned.jobs[0].folder / "checkpoint.safetensors",))
        killer.start()
        with pytest.raises(TrainingError, match="workers were lost"):
            list(run_jobs(planned, Cluster("ray")))
        killer.join()
        assert not [outcome for outcome in run_jobs(planned, Cluster("ray")) if outcome.error]
    finally:
        ray.shutdown()
    work(straight)
    for spread, alone in zip(planned.jobs, straight.jobs, strict=True):
        assert (spread.folder / "weights.safetensors").read_bytes() == (
            alone.folder / "weights.safetensors"
        ).read_bytes()


def kill_ray_worker(checkpoint: Path) -> None:
    """Kill a Ray worker of this user's as soon as a file is there."""
    while not checkpoint.exists():
        time.sleep(0.05)
    subprocess.run(["pkill", "-KILL", "-o", "-f", "^ray::PoolActor"], check=True)


@pytest.mark.slow
def test_a_reproduction_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    words = ["--only", "lnn", "--seeds", "2", "--set", "data.name=phantoms", "--set", "training.epochs=8"]
    command = [sys.executable, "-m", "edgelnn", "reproduce", "breast-lnn", *words, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("out/runs/*/checkpoint.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "The same command goes on" in said
    outcome = run_cli("reproduce", "breast-lnn", *words, "--out", tmp_path / "out", "--json", "--jobs", "1")
    assert outcome.code == 0, outcome.err
    assert outcome.json["rows"][0]["epochs"] == [8, 8]


def test_other_words_about_an_experiment_are_no_other_training(done, tmp_path: Path) -> None:
    """What is published or said of a model may be put better without costing anyone their trainings."""
    folder = tmp_path / "out"
    shutil.copytree(done.folder, folder)
    job = plan(folder).jobs[0]
    text = (job.folder / "experiment.toml").read_text("utf-8").replace("The dense network", "A dense network")
    (job.folder / "experiment.toml").write_text(text, "utf-8")
    environment = json.loads((job.folder / "environment.json").read_text("utf-8"))
    environment["experiment_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (job.folder / "environment.json").write_text(json.dumps(environment), "utf-8")
    assert Run.load(job.folder).experiment != job.experiment
    work(plan(folder))
    assert len(gather(plan(folder)).rows[0].seeds) == 2


def test_what_a_published_mistake_does_is_told(done, tmp_path: Path) -> None:
    found = gather(done)
    (row,) = found.rows
    worse, middle = (
        {"auc": Measured((mean,), mean, None, mean - 0.1, mean + 0.1), "accuracy": row.measured["accuracy"]}
        | {"f1": row.measured["f1"]}
        for mean in (0.3, 0.5)
    )
    rows = (row, replace(row, as_published=True, measured=worse), replace(row, model="other", measured=middle))
    markdown, _ = write_page(replace(found, plan=replace(done, folder=tmp_path), rows=rows))
    text = markdown.read_text("utf-8")
    mean = row.measured["auc"].mean
    assert f"DNN: as meant its AUC is {mean - 0.3:.4f} higher than as published; the intervals do not overlap." in text
    assert "Among 2 models its place by mean AUC is 1; with the mistake it would be 2." in text
    assert "Of all models as they were meant, DNN has the best mean AUC" in text


def test_a_page_says_what_is_known_once_and_which_models_tell_nothing_apart(done, tmp_path: Path) -> None:
    found = gather(done)
    (row,) = found.rows
    assert row.told_nothing_apart == ()
    shutil.copytree(done.folder, tmp_path / "out")
    file = predictions_path(tmp_path / "out", done.jobs[0].name)
    with np.load(file) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    np.savez(file, **{**kept, "probabilities": np.full_like(kept["probabilities"], 0.5)})
    found = gather(plan(tmp_path / "out"))
    assert found.rows[0].told_nothing_apart == (0,)
    first, second = (replace(found.rows[0], model=name, notes=notes) for name, notes in NOTES.items())
    markdown, _ = write_page(replace(found, rows=(first, second)))
    text = markdown.read_text("utf-8")
    assert text.count("Answers the same for every test image, in 1 of 2 trainings") == 2
    assert "\n* Of both.\n" in text
    assert "\n* B: Of one.\n" in text
    assert re.search(r"The 4 trainings took \d+ s in all\.", text)


def test_a_page_without_any_finished_training_says_so(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    _, html = write_page(gather(planned))
    assert "No training is finished yet." in html.read_text("utf-8")
    assert share_done(planned) == 0.0


def test_two_systems_do_not_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("crnet-ncp\n", "utf-8")
    with pytest.raises(WriteError, match="holds a reproduction of crnet-ncp, not of breast-lnn"):
        next(run_jobs(plan(tmp_path), Cluster(workers=1)))


def test_two_processes_do_not_reproduce_in_one_folder(done) -> None:
    with hold_folder(done.folder, busy="never told"), pytest.raises(WriteError, match="another process reproduces in"):
        next(run_jobs(done, Cluster(workers=1)))


def test_lost_workers_are_one_line_that_says_how_to_go_on(done, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: object, calls: object) -> None:
        raise BrokenProcessPool("a worker was killed")

    monkeypatch.setattr("joblib.Parallel.__call__", lose)
    with pytest.raises(TrainingError, match=r"workers were lost \(BrokenProcessPool\).* the same command goes on"):
        next(run_jobs(done, Cluster(workers=1)))

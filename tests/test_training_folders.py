"""What a training does to folders that hold something: nothing is lost or mixed up, whenever it is stopped."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgelnn import atomic
from edgelnn.errors import RunFolderError, TrainingInterrupted, WriteError
from edgelnn.run import Run
from edgelnn.training import finishing, train
from edgelnn.training.folders import claim_workplace, path_beside
from edgelnn.training.loading import load_experiment, load_experiment_dataset
from tests.helpers import assert_one_clear_line, files_under, run_cli
from tests.training_runs import Recorder, tiny_dataset, tiny_experiment

OLD, NEW = 5, 0  # seeds of the run that is replaced and of the one that replaces it


def trained(folder: Path, seed: int, **options: object) -> Run:
    experiment = tiny_experiment(seed=seed, epochs=1)
    return train(experiment, folder=folder, dataset=tiny_dataset(), threads=1, figures=False, **options)


def interrupted(folder: Path, seed: int, **options: object) -> None:
    """Leave an unfinished training."""
    with pytest.raises(TrainingInterrupted):
        trained(folder, seed, listener=Recorder(fail_at=2), **options)


def resumed(folder: Path) -> Run:
    return train(None, folder=folder, dataset=tiny_dataset(), resume=True, figures=False)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, and beside it the one that was to replace it, of which all is written."""
    place = tmp_path_factory.mktemp("written")
    trained(place / "run", OLD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finishing, "put_in_place", lambda workplace: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(TrainingInterrupted):
            trained(place / "run", NEW, force=True)
    return place


# What was not made here stays.


@pytest.mark.parametrize("theirs", ["metrics.json", "experiment.toml"])
def test_force_does_not_replace_a_foreign_folder_that_holds_a_file_of_the_same_name(
    tmp_path: Path, theirs: str
) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / theirs).write_text("{}")
    (folder / "grandmother.jpg").write_bytes(b"irreplaceable")
    before = files_under(folder)
    with pytest.raises(WriteError, match="not replaced even with --force"):
        trained(folder, NEW, force=True)
    assert files_under(folder) == before
    assert names(tmp_path) == ["photographs"]


def test_a_foreign_folder_that_took_the_place_of_the_replaced_run_stays(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained(folder, OLD)
    interrupted(folder, NEW, force=True)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "grandmother.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(WriteError, match="not replaced even with --force"):
        resumed(folder)
    assert names(folder) == ["grandmother.jpg"]
    folder.rename(tmp_path / "photographs")
    assert resumed(folder).experiment.training.seed == NEW


def test_a_run_of_ones_own_beside_is_not_taken_for_ours(tmp_path: Path) -> None:
    trained(tmp_path / "run", OLD)
    trained(tmp_path / "run.new", 7)
    before = files_under(tmp_path / "run.new")
    trained(tmp_path / "run", NEW, force=True)
    assert files_under(tmp_path / "run.new") == before


# Two trainings do not share a folder.


class Second(Recorder):
    """Asks for the same folder while the first training is in its first batch."""

    def __init__(self, ask: Callable[[], object]) -> None:
        super().__init__()
        self.ask = ask

    def on_batch(self, batch: int, batches: int) -> None:
        if not self.batches:
            with pytest.raises(WriteError, match="another process is training in"):
                self.ask()
        super().on_batch(batch, batches)


@pytest.mark.parametrize("beside", [False, True])
def test_force_leaves_a_training_alone_that_is_under_way(tmp_path: Path, beside: bool) -> None:
    folder = tmp_path / "run"
    if beside:
        trained(folder, OLD)
    listener = Second(lambda: trained(folder, 9, force=True))
    run = trained(folder, NEW, force=beside, listener=listener)
    assert listener.ends == 1
    assert run.experiment.training.seed == Run.load(folder).experiment.training.seed == NEW
    assert names(tmp_path) == ["run"]


def test_a_training_that_another_began_in_the_meantime_is_not_replaced(tmp_path: Path) -> None:
    """Both found no folder, and both may replace what is there: the first to make it keeps it."""
    folder = tmp_path / "run"
    with claim_workplace(folder, resume=False, force=True) as late:
        interrupted(folder, NEW)
        with pytest.raises(WriteError, match="exists and is not empty"):
            finish_late_start(late)
    assert resumed(folder).experiment.training.seed == NEW


def finish_late_start(late: object) -> None:
    from edgelnn.training.folders import Workplace, start_folder

    assert isinstance(late, Workplace)
    start_folder(late, tiny_experiment(seed=9), {"format_version": 1})


def test_a_training_that_ended_while_another_waited_to_resume_it_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgelnn.training import folders

    folder = tmp_path / "run"
    interrupted(folder, NEW)
    find, found = folders.find_workplace, []

    def find_and_let_the_other_end(*arguments: object, **options: object) -> object:
        workplace = find(*arguments, **options)
        found.append(workplace)
        if len(found) == 1:
            monkeypatch.setattr(folders, "find_workplace", find)
            resumed(folder)
            monkeypatch.setattr(folders, "find_workplace", find_and_let_the_other_end)
        return workplace

    monkeypatch.setattr(folders, "find_workplace", find_and_let_the_other_end)
    recorder = Recorder()
    train(None, folder=folder, dataset=tiny_dataset(), resume=True, listener=recorder, figures=False)
    assert [workplace.finished for workplace in found] == [False, True]
    assert recorder.starts == []


# What an interrupted replacing training says goes on with that one.


def test_the_command_of_an_interrupted_replacement_continues_it_with_its_own_experiment(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = ["training.epochs=2", "head.kind=dense", "stem.kind=identity"]
    experiment = load_experiment("phantoms", small)
    dataset = load_experiment_dataset(experiment.data)
    train(experiment, folder=folder, dataset=dataset, figures=False)
    other = load_experiment("phantoms", [*small, "training.learning_rate=0.5", "training.seed=3"])
    with pytest.raises(TrainingInterrupted) as caught:
        train(other, folder=folder, dataset=dataset, force=True, listener=Recorder(fail_at=1), figures=False)
    typed = str(caught.value).partition("edgelnn ")[2].split()
    outcome = run_cli(*typed, "--json")
    assert outcome.code == 0, outcome.err
    assert Run.load(folder).experiment == other
    assert names(tmp_path) == ["run"]


def test_a_replacement_under_way_is_told_where_the_folder_is_asked_for_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained(folder, OLD)
    interrupted(folder, NEW, force=True)
    with pytest.raises(WriteError, match=r"run\.edgelnn-new holds a training that is not finished\. Continue it"):
        trained(folder, 9)
    with pytest.raises(WriteError, match=r"is to replace .*run\. Pass --out .*run\.$"):
        resumed(path_beside(folder))
    shutil.rmtree(folder)
    assert trained(folder, 9, force=True).experiment.training.seed == 9
    assert names(tmp_path) == ["run"]


def test_which_run_is_the_newer_is_not_guessed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained(folder, OLD)
    shutil.copytree(folder, path_beside(folder))
    for options in ({"resume": True}, {"force": True}):
        with pytest.raises(RunFolderError, match=r"holds a finished run; expected an unfinished one"):
            trained(folder, OLD, **options)
    shutil.rmtree(path_beside(folder))
    shutil.rmtree(folder)
    interrupted(folder, OLD)
    shutil.copytree(folder, path_beside(folder))
    with pytest.raises(RunFolderError, match="both hold a training that is not finished"):
        resumed(folder)


# A death at any moment.

STEPS = ("rename", "replace", "unlink", "rmdir", "mkdir", "write", "fsync")


class Killed(BaseException):
    """The process died: nothing that it would still do happens."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let the process die before its n-th step on the disk, and at every one after it."""
    left: list[int] = []

    def counting(step: Callable[..., object]) -> Callable[..., object]:
        def function(*arguments: object, **options: object) -> object:
            if left:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
            return step(*arguments, **options)

        return function

    for name in STEPS:
        monkeypatch.setattr(os, name, counting(getattr(os, name)))
    monkeypatch.setattr(atomic, "_exchange", counting(atomic._exchange))

    def arm(step: int | None) -> None:
        left[:] = [] if step is None else [step]

    yield arm
    arm(None)


def survives(action: Callable[[], object], kill_at: Callable[[int | None], None], step: int) -> bool:
    """Return whether an action ended before the process died."""
    kill_at(step)
    try:
        action()
    except Killed:
        return False
    finally:
        kill_at(None)
    return True


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("exchange", [True, False])
def test_the_new_run_is_there_after_a_death_at_any_step_of_putting_it_in_place(
    tmp_path: Path,
    written: Path,
    kill_at: Callable[[int | None], None],
    monkeypatch: pytest.MonkeyPatch,
    exchange: bool,
    again: bool,
) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    new = files_under(path_beside(written / "run"))
    new.pop("checkpoint.safetensors")
    step, done = 0, False
    while not done:
        place = tmp_path / str(step)
        shutil.copytree(written, place)
        done = survives(lambda place=place: resumed(place / "run"), kill_at, step)
        if again:
            survives(lambda place=place: resumed(place / "run"), kill_at, step)
        # No data are given: all was written, so nothing is judged again.
        run = train(None, folder=place / "run", resume=True)
        assert run.experiment.training.seed == NEW, step
        assert files_under(place / "run") == new, step
        assert names(place) == ["run"], step
        step += 1
    assert step > 15


def test_the_old_run_or_the_new_one_is_in_the_folder_at_any_step(
    tmp_path: Path, written: Path, kill_at: Callable[[int | None], None]
) -> None:
    """Where the system exchanges folders in one step; and --force loses the new one no more than --resume does."""
    step, done = 0, False
    while not done:
        place = tmp_path / str(step)
        shutil.copytree(written, place)
        done = survives(lambda place=place: resumed(place / "run"), kill_at, step)
        assert (place / "run" / "metrics.json").exists(), step
        interrupted(place / "run", 9, force=True)
        assert Run.load(place / "run").experiment.training.seed == NEW, step
        assert names(place) == ["run", "run.edgelnn-new"], step
        step += 1


def test_the_old_run_is_there_after_a_death_at_any_step_of_beginning_another(
    tmp_path: Path, kill_at: Callable[[int | None], None]
) -> None:
    folder = tmp_path / "run"
    trained(folder, OLD)
    before, step, done = files_under(folder), 0, False

    def begin() -> None:
        with pytest.raises(TrainingInterrupted):
            trained(folder, NEW, force=True, listener=Recorder(fail_at=0))

    while not done:
        done = survives(begin, kill_at, step)
        assert files_under(folder) == before, step
        step += 1
    assert step > 5
    assert resumed(folder).experiment.training.seed == NEW
    assert names(tmp_path) == ["run"]


def test_a_full_disk_while_a_run_is_put_in_place_loses_nothing(
    tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(written, tmp_path / "place")
    folder = tmp_path / "place" / "run"

    def full(one: Path, other: Path) -> bool:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(other))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_exchange", full)
        with pytest.raises(WriteError, match="no space left"):
            resumed(folder)
    assert Run.load(folder).experiment.training.seed == OLD
    assert resumed(folder).experiment.training.seed == NEW


# The current folder.

SMALL = ["--epochs", "1", "--set", "head={kind='dense'}", "--set", "stem.kind=identity", "--threads", "1"]


@pytest.mark.parametrize("out", [".", "..", "{here}"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_training_does_not_replace_the_folder_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, force: list[str]
) -> None:
    here = tmp_path / "above" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    outcome = run_cli("train", "phantoms", *SMALL, "--out", out.format(here=here), *force)
    assert_one_clear_line(outcome, "this command runs in it", "cd ..", code=[1])
    assert names(tmp_path) == ["above"]
    assert names(tmp_path / "above") == ["here"]


def test_a_training_is_resumed_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    experiment = load_experiment("phantoms", ["training.epochs=1", "head.kind=dense", "stem.kind=identity"])
    with pytest.raises(TrainingInterrupted):
        train(experiment, folder=folder, listener=Recorder(fail_at=1), figures=False)
    monkeypatch.chdir(folder)
    for _ in range(2):  # the second time it is finished
        outcome = run_cli("train", "--resume", "--out", ".", "--json")
        assert outcome.code == 0, outcome.err
    assert Run.load(folder).experiment == experiment
    assert names(tmp_path) == ["run"]


def test_a_replacement_is_not_resumed_from_within_the_folder_it_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path / "run", OLD)
    interrupted(tmp_path / "run", NEW, force=True)
    monkeypatch.chdir(tmp_path / "run")
    assert_one_clear_line(run_cli("train", "--resume", "--out", "."), "this command runs in it", code=[1])
    monkeypatch.chdir(tmp_path)
    assert resumed(Path("run")).experiment.training.seed == NEW


def test_a_run_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    trained(tmp_path / "disk" / "run", OLD)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "run")
    interrupted(tmp_path / "link", NEW, force=True)
    assert names(tmp_path / "disk") == ["run", "run.edgelnn-new"]
    assert resumed(tmp_path / "link").experiment.training.seed == NEW
    assert names(tmp_path / "disk") == ["run"]
    assert (tmp_path / "link").is_symlink()

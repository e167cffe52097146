"""One candidate made, run and judged."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgelnn.bundle import ModelFormat, Variant
from edgelnn.data.dataset import Split
from edgelnn.errors import DataError, ExportError, MissingExtraError, ModelFileError
from edgelnn_export.listener import Check
from edgelnn_export.making import LAYOUTS, Maker
from edgelnn_export.parity import Answers, Judge, answer, reason_to_reject
from edgelnn_export.quantization import Candidate
from edgelnn_export.quantization.sensitivity import Loss
from edgelnn_export.selection import judging_images
from edgelnn_profiling.parity import allowed_error
from edgelnn_profiling.proving import Proof

if TYPE_CHECKING:
    from edgelnn_profiling.runtimes import AbstractRuntime

__all__ = ["Trial", "loss_on_validation", "proof_of", "try_candidate"]

logger = logging.getLogger(__name__)
_IMAGES_A_CALL: Final = 64


@dataclass(frozen=True)
class Trial:
    """What became of a candidate.

    Attributes:
        check: What was found.
        data: The file; empty where none could be made.
    """

    check: Check
    data: bytes = b""

    def variant(self, judge: Judge, reference: Answers) -> Variant:
        """Return the manifest's entry of a kept candidate, having evaluated it on the test split.

        Args:
            judge: Who judged it.
            reference: The PyTorch model's answers to the test split.
        """
        candidate, layout = self.check.candidate, LAYOUTS[self.check.candidate.format]
        runtime = _load(self.data)
        test = judge.dataset["test"]
        answers = answer(runtime, test.images, judge.preprocessing, layout, batch=_images_a_call(candidate))
        if self.check.parity_max_error is None:
            raise ValueError(f"{candidate.name} was not kept.")
        return Variant(
            name=candidate.name,
            format=candidate.format,
            recipe=candidate.recipe.name,
            file=candidate.file,
            size_bytes=len(self.data),
            sha256=hashlib.sha256(self.data).hexdigest(),
            layout=layout,
            input=runtime.input,
            output=runtime.output,
            parity_max_error=self.check.parity_max_error,
            tolerance=self.check.tolerance,
            validation={name: self.check.validation[name] for name in ("auc", "accuracy", "agreement")},
            test=judge.figures(answers, test, reference),
            references=self.check.references,
        )


def try_candidate(
    candidate: Candidate,
    maker: Maker,
    judge: Judge,
    *,
    tolerance: float,
    max_auc_drop: float,
    max_bytes: int | None = None,
) -> Trial:
    """Return a candidate's file with what was found of it.

    What goes wrong with a file is a finding, not an error: it stands in the check as the reason for rejecting it.

    Args:
        candidate: What to try.
        maker: Makes its file.
        judge: Knows the right answers.
        tolerance: Largest difference of a float32 file's probabilities.
        max_auc_drop: AUC that a quantized file may lose on the validation split.
        max_bytes: Size that a quantized file may have; None for any.

    Raises:
        MissingExtraError: A library or runtime is not installed.
    """
    try:
        data = maker.make(candidate)
    except ExportError as error:
        logger.info("%s could not be made", candidate.name, exc_info=True)
        return Trial(Check(candidate, kept=False, reason=str(error).rstrip(".")))
    exact = None if candidate.recipe.is_quantized else tolerance
    layout, batch = LAYOUTS[candidate.format], _images_a_call(candidate)
    parity: float | None = None
    validation: dict[str, float] = {}
    references: dict[str, float] = {}
    try:
        runtime = _load(data)
        parity = judge.parity_error(runtime, layout, batch=batch)
        validation = judge.judge(runtime, layout, batch=batch)
        if exact is not None and candidate.format == "onnx":
            references = judge.reference_error(data, layout)
        reason = reason_to_reject(parity, exact, validation, max_auc_drop, references)
        reason = reason or _too_large(candidate, maker, len(data), max_bytes)
    except MissingExtraError:
        raise
    except (ModelFileError, DataError) as error:
        logger.info("%s does not run", candidate.name, exc_info=True)
        reason = str(error).rstrip(".")
    return Trial(
        Check(
            candidate,
            kept=not reason,
            reason=reason,
            size_bytes=len(data),
            parity_max_error=parity if parity is not None and parity != float("inf") else None,
            tolerance=exact,
            validation=validation,
            references={name: error for name, error in references.items() if error != float("inf")},
        ),
        data,
    )


def proof_of(trials: Sequence[Trial], judge: Judge, golden: bytes) -> Proof:
    """Return what the files that are kept so far must answer wherever they are measured.

    Args:
        trials: What became of the candidates.
        judge: Who judged them.
        golden: Bytes of ``golden.npz``.
    """
    kept = {trial.check.candidate.name: trial.check for trial in trials if trial.check.kept}
    images, answers = judge.golden
    return Proof(
        golden=golden,
        images=len(images),
        outputs=answers.shape[1],
        preprocessing=judge.preprocessing,
        layouts={name: LAYOUTS[check.candidate.format] for name, check in kept.items()},
        allowed={name: allowed_error(check.tolerance, check.parity_max_error or 0.0) for name, check in kept.items()},
    )


def loss_on_validation(judge: Judge, data: bytes, model_format: ModelFormat) -> Loss:
    """Return what a file loses against the PyTorch model, on some 512 images of the validation split.

    Args:
        judge: Knows the right answers.
        data: The file.
        model_format: Its format.

    Raises:
        ExportError: The file does not run, or its answers cannot be judged.
    """
    whole = judge.dataset["val"]
    chosen = judging_images(whole)
    split, expected = Split(whole.images[chosen], whole.labels[chosen]), judge.validation[chosen]
    try:
        runtime = _load(data)
        found = answer(runtime, split.images, judge.preprocessing, LAYOUTS[model_format], batch=_IMAGES_A_CALL)
        auc_drop = judge.figures(expected, split)["auc"] - judge.figures(found, split)["auc"]
    except ModelFileError as error:
        raise ExportError(f"a file made on the way does not run: {str(error).rstrip('.')}") from error
    except DataError as error:
        raise ExportError(f"a file made on the way cannot be judged: {str(error).rstrip('.')}") from error
    return Loss(float(abs(found - expected).mean()), auc_drop)


def _too_large(candidate: Candidate, maker: Maker, size_bytes: int, max_bytes: int | None) -> str:
    """Return why a quantized file is too large to be worth keeping; empty where it is not."""
    if max_bytes is not None and candidate.recipe.is_quantized and size_bytes > max_bytes:
        return f"it has {size_bytes:,} bytes; at most {max_bytes:,} are wanted"
    before = maker.float32_bytes(candidate.format)
    if candidate.required or size_bytes < before:
        return ""
    return f"it is no smaller than the float32 file: {size_bytes:,} bytes against {before:,}"


def _load(data: bytes) -> AbstractRuntime:
    from edgelnn_profiling import load_runtime

    return load_runtime(data)


def _images_a_call(candidate: Candidate) -> int:
    """Return how many images a file is given at once: one where the runtime finds ranges over all that it is given."""
    return 1 if candidate.recipe.range in ("dynamic", "mixed") else _IMAGES_A_CALL

"""Is a file the model? Held to the PyTorch model's answers, through the runtime that will run it.

float32 files must give the same numbers: on the golden inputs and on noise, one image at a time and in a batch, no
probability may differ by more than a tolerance; ONNX files also in ONNX's own reference evaluator. Quantized files
cannot; they are judged on the validation split by the AUC they lose, and by how often they decide otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Dataset, Split
from edgelnn.decisions import class_probabilities, decide
from edgelnn.errors import ExportError, ModelFileError
from edgelnn.preprocessing import InputType, Layout, Preprocessing
from edgelnn.training.metrics import evaluate_predictions
from edgelnn_export.selection import golden_images, random_images

if TYPE_CHECKING:
    from edgelnn.models import Classifier
    from edgelnn_profiling.runtimes import AbstractRuntime

__all__ = ["MAX_AUC_DROP", "PARITY_TOLERANCE", "Answers", "Judge", "answer", "ask", "reason_to_reject"]

PARITY_TOLERANCE: Final = 1e-5
_OWN_ROUNDING: Final = 4
MAX_AUC_DROP: Final = 0.02
_NOISE_IMAGES: Final = 16
_NOISE_SEED: Final = 1
_REFERENCE_IMAGES: Final = 4  # of each kind: the reference evaluator is slow

Images = NDArray[np.uint8]
Answers = NDArray[np.float32]


def answer(
    runtime: AbstractRuntime, images: Images, preprocessing: Preprocessing, layout: Layout, *, batch: int = 1
) -> Answers:
    """Return a file's answers.

    Args:
        runtime: The file, loaded.
        images: (n, [d,] h, w, c) uint8.
        preprocessing: From pixels to the model's input.
        layout: Of the file's input.
        batch: Images a call, where the file takes any number.

    Returns:
        (n, outputs) float32.

    Raises:
        ModelFileError: The runtime fails on the file.
    """
    step = batch if runtime.takes_any_batch else 1
    return np.concatenate(
        [runtime.run(preprocessing(images[i : i + step], layout)) for i in range(0, len(images), step)]
    ).astype(np.float32)


@dataclass(frozen=True)
class Judge:
    """The PyTorch model's answers, and the rules a file is held to.

    Attributes:
        classifier: The trained model.
        dataset: What it was trained on.
        preprocessing: From pixels to what files take.
        golden: Inputs that travel with the bundle, and the model's answers to them.
        noise: More inputs, and the model's answers to them.
        validation: The model's answers to the validation split.
        threshold: On the probability of the positive class, or of each label.
    """

    classifier: Classifier
    dataset: Dataset
    preprocessing: Preprocessing
    golden: tuple[Images, Answers]
    noise: tuple[Images, Answers]
    validation: Answers
    threshold: float = 0.5

    @classmethod
    def appoint(
        cls,
        classifier: Classifier,
        dataset: Dataset,
        preprocessing: Preprocessing,
        threshold: float = 0.5,
        *,
        input_type: InputType = "float32",
    ) -> Judge:
        """Return a judge, having asked the model (in evaluation mode); files take inputs of `input_type`.

        Raises:
            ExportError: An answer of the model's is not a number, so that no file can be held to it.
        """
        golden = golden_images(dataset["val"])
        noise = random_images(_NOISE_IMAGES, preprocessing.image_shape, seed=_NOISE_SEED)
        asked = {"golden": golden, "noise": noise, "validation": dataset["val"].images}
        answers = {name: ask(classifier, images, preprocessing) for name, images in asked.items()}
        for name, found in answers.items():
            broken = int((~np.isfinite(found).all(axis=1)).sum())
            if broken:
                raise ExportError(
                    f"the model itself answers {broken} of {len(found)} {name} images with NaN or infinity: no file "
                    "can be held to that. Train it anew, with a smaller training.learning_rate."
                )
        return cls(
            classifier,
            dataset,
            replace(preprocessing, input_type=input_type),
            (golden, answers["golden"]),
            (noise, answers["noise"]),
            answers["validation"],
            threshold,
        )

    def at_least(self, tolerance: float) -> float:
        """Return a tolerance, or four times what PyTorch's own answers owe to float32 where that is more.

        A deep network's probabilities depend on the order in which numbers are added; no two programs agree to more. It
        is ten times the tolerance at the most.
        """
        import torch

        exact = copy.deepcopy(self.classifier).double()
        exact.eval()
        images, answers = self.golden
        float32 = replace(self.preprocessing, input_type="float32")
        with torch.no_grad():
            found = exact.probabilities(torch.from_numpy(float32(images)).double()).numpy()
        rounding = float(np.abs(found - answers).max())
        return max(tolerance, min(_OWN_ROUNDING * rounding, 10 * tolerance))

    @cached_property
    def validation_figures(self) -> dict[str, float]:
        """The model's own ``auc`` and ``accuracy`` on the validation split."""
        return self.figures(self.validation, self.dataset["val"])

    def parity_error(self, runtime: AbstractRuntime, layout: Layout, *, batch: int) -> float:
        """Return the largest difference of any probability on the parity inputs; infinite where one is no number.

        Args:
            runtime: The file, loaded.
            layout: Of its input.
            batch: Images a call; where it is more than one, images are given one at a time as well.
        """
        largest = 0.0
        for images, expected in (self.golden, self.noise):
            for size in {1, batch}:
                found = answer(runtime, images, self.preprocessing, layout, batch=size)
                if found.shape != expected.shape or not np.isfinite(found).all():
                    return float("inf")
                largest = max(largest, float(np.abs(found - expected).max()))
        return largest

    def reference_error(self, content: bytes, layout: Layout) -> dict[str, float]:
        """Return the largest difference of any probability that a float32 ONNX file gives in ONNX's own evaluator.

        Args:
            content: The file.
            layout: Of its input.

        Returns:
            By the name of the evaluator, as the manifest has it; infinite where an answer is no number.

        Raises:
            ModelFileError: The evaluator fails on the file.
        """
        from edgelnn_export.onnx_reference import OnnxReference

        reference = OnnxReference(content)
        largest = 0.0
        for images, expected in (self.golden, self.noise):
            few = slice(None, _REFERENCE_IMAGES)
            found = reference.run(self.preprocessing(images[few], layout))
            if found.shape != expected[few].shape or not np.isfinite(found).all():
                return {reference.name: float("inf")}
            largest = max(largest, float(np.abs(found - expected[few]).max()))
        return {reference.name: largest}

    def judge(self, runtime: AbstractRuntime, layout: Layout, *, batch: int) -> dict[str, float]:
        """Return ``auc``, ``accuracy``, ``agreement`` and ``auc_drop`` of a file on the validation split.

        Args:
            runtime: The file, loaded.
            layout: Of its input.
            batch: Images a call.

        Raises:
            ModelFileError: An answer is not a number.
        """
        split = self.dataset["val"]
        found = answer(runtime, split.images, self.preprocessing, layout, batch=batch)
        figures = self.figures(found, split, self.validation)
        return {**figures, "auc_drop": self.validation_figures["auc"] - figures["auc"]}

    def figures(self, answers: Answers, split: Split, reference: Answers | None = None) -> dict[str, float]:
        """Return ``auc`` and ``accuracy`` of answers to a split, and their ``agreement`` with those of a reference.

        Args:
            answers: (n, outputs) float32.
            split: What they answer.
            reference: The PyTorch model's answers to it.

        Raises:
            ModelFileError: An answer is not a number.
        """
        if not np.isfinite(answers).all():
            raise ModelFileError("it answers with numbers that are not finite.")
        probabilities = self._by_class(answers)
        metrics = evaluate_predictions(
            probabilities,
            split.labels,
            task=self.dataset.task,
            class_names=self.dataset.class_names,
            positive_class=self.dataset.positive_class,
            threshold=self.threshold,
            bootstrap=0,
        )
        figures = {"auc": metrics.auc, "accuracy": metrics.accuracy}
        if reference is not None:
            same = (self._decided(probabilities) == self._decided(self._by_class(reference))).all(axis=1)
            figures["agreement"] = float(same.mean())
        return figures

    def _by_class(self, answers: Answers) -> NDArray[np.floating[Any]]:
        return class_probabilities(answers, self.classifier.output_kind, len(self.dataset.class_names))

    def _decided(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        return decide(
            probabilities,
            task=self.dataset.task,
            positive_class=self.dataset.positive_class,
            threshold=self.threshold,
        )


def ask(classifier: Classifier, images: Images, preprocessing: Preprocessing) -> Answers:
    """Return the PyTorch model's probabilities (n, outputs) float32; on one thread, so that they repeat bit for bit.

    Args:
        classifier: The trained model.
        images: (n, [d,] h, w, c) uint8.
        preprocessing: From pixels to the model's input.
    """
    from edgelnn.training.prediction import predict_probabilities

    with _one_thread():
        return predict_probabilities(classifier, images, preprocessing)


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reason_to_reject(
    parity_max_error: float,
    tolerance: float | None,
    validation: Mapping[str, float],
    max_auc_drop: float,
    references: Mapping[str, float] | None = None,
) -> str:
    """Return why a file may not be kept, in one line; empty where it may.

    Args:
        parity_max_error: Its largest difference on the parity inputs.
        tolerance: What that has to stay below; None where AUC alone decides.
        validation: Its figures on the validation split.
        max_auc_drop: AUC it may lose there, where AUC decides: what a file loses that gives the same numbers, it loses
            in the order of ties.
        references: Its largest differences in other evaluators, which have to stay below `tolerance` too.
    """
    if not np.isfinite(parity_max_error):
        return "it answers with something that is not a probability for every output"
    if tolerance is not None and parity_max_error > tolerance:
        return f"a probability differs by {parity_max_error:.1e} from the PyTorch model's; at most {tolerance:.0e} may"
    for evaluator, error in (references or {}).items():
        if tolerance is not None and not error <= tolerance:
            return f"in {evaluator} a probability differs by {error:.1e} from PyTorch's; at most {tolerance:.0e} may"
    if tolerance is None and validation["auc_drop"] > max_auc_drop:
        return f"it loses {validation['auc_drop']:.3f} of AUC on the validation split; at most {max_auc_drop:g} may go"
    return ""

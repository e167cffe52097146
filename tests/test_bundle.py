"""Bundle.load, the manifest and golden.npz on good and hostile folders."""

import numpy as np

from tests.small_bundle import linear_answers, make_bundle


def test_loads_what_was_written(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    assert [variant.name for variant in bundle.manifest.variants] == ["onnx-float32", "tflite-float32"]
    assert bundle.variant().name == bundle.manifest.recommended == "onnx-float32"
    images, answers = bundle.golden()
    assert images.shape == (4, 8, 8, 1)
    np.testing.assert_allclose(answers, linear_answers(images, bundle.manifest.preprocessing, 2), atol=1e-7)


def test_model_files_of_the_helper_run(tmp_path):
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    bundle = make_bundle(tmp_path / "b")
    images, answers = bundle.golden()
    session = onnxruntime.InferenceSession(
        bundle.path(bundle.variant("onnx-float32")), providers=["CPUExecutionProvider"]
    )
    got = session.run(None, {"image": bundle.manifest.preprocessing(images)})[0]
    np.testing.assert_allclose(got, answers, atol=1e-6)
    interpreter = Interpreter(model_path=str(bundle.path(bundle.variant("tflite-float32"))))
    interpreter.allocate_tensors()
    for image, answer in zip(bundle.manifest.preprocessing(images, "channels_last"), answers, strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        np.testing.assert_allclose(
            interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0], answer, atol=1e-6
        )

"""What the two writers are made of: `onnx_*` builds an ONNX model, `tflite_*` a TFLite one, operator by operator."""

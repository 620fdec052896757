"""Training: from an ONNX file to one function of forward, loss, backward and updates."""

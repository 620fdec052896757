"""From an ONNX file to a normalised one: checks and rewrites, one a file."""

"""The files of a bundle, by name."""

MODEL = "model.onnx"
GOLDEN = "golden.safetensors"
FOLD = "fold.json"
README = "README.md"
TRITON = "config.pbtxt"
MANIFEST = "manifest.json"
"""What makes a folder a bundle; lists all the others."""

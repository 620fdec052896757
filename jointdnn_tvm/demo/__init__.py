"""The main job on a trained network and a real picture, on this machine alone."""

"""JointDNN as a compiler pass over Apache TVM: place every operator on a phone or in the cloud."""

from __future__ import annotations

__all__: list[str] = []

__version__ = "0.1.0"

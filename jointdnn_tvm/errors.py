"""The errors that users meet, one base, split by the phase that raises them.

::

    JointdnnError
    ├── ModelError        the ONNX file, or something in it that cannot be imported
    ├── ProfileError      a target or link profile: unknown name, bad TOML, missing fact
    ├── ProblemError      a placement problem or a placement file that is not well formed
    ├── DeviceError       tracker, device server, remote call: not there, refused, too late
    ├── CostError         measuring: a group that can run nowhere, a database that cannot be used
    ├── BuildError        lowering, compiling or linking a module
    │   └── LinkError     a target's linker is missing or fails: nothing to do with the module
    ├── BundleError       a bundle on disk: missing, damaged, foreign, too new
    ├── CodecError        an encoded tensor: damaged, too large, of another version
    └── RunError          inputs that do not fit, outputs that differ
        └── DivergedError training left the finite numbers; the last good step is kept

A message says what happened, to which file or operator, and the next thing to do, in one line.
"""


class JointdnnError(Exception):
    """Base of every error that this package raises on purpose."""


class ModelError(JointdnnError):
    """The ONNX file cannot be read, checked or imported."""


class ProfileError(JointdnnError):
    """A target or link profile is unknown or wrong."""


class ProblemError(JointdnnError):
    """A placement problem or a placement is not well formed."""


class DeviceError(JointdnnError):
    """A tracker or device server cannot be reached, refused the call, or took too long."""


class CostError(JointdnnError):
    """Costs cannot be measured or stored."""


class BuildError(JointdnnError):
    """A module cannot be lowered, compiled or linked."""


class LinkError(BuildError):
    """A target's linker is not on this machine, or fails."""


class BundleError(JointdnnError):
    """A bundle on disk is missing something, damaged, foreign or too new."""


class CodecError(JointdnnError):
    """An encoded tensor is damaged, too large, or not of a codec that there is."""


class RunError(JointdnnError):
    """Inputs do not fit the network, or the answer is wrong."""


class DivergedError(RunError):
    """A loss or a weight is no finite number; the step is not taken."""

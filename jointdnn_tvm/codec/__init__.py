"""How a tensor is encoded for the link: numpy and one compression library, no TVM.

`registry` names the codecs, `frame` is what crosses; each other module is one way to encode.
"""

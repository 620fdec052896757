// The file that the CUDA source of TVM includes; what it needs is in emulate.h.

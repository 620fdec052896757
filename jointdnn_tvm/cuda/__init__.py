"""CUDA kernels to machine code on any computer: no GPU and no driver are needed."""

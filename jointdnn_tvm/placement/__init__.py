"""The placement problem and its solvers: plain data, no TVM."""

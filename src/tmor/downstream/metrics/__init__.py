"""Metrics as pure functions of arrays.

Shares and segment metrics that papers give in percent are in percent here; each function says which. NaN in a result
means that there was nothing to measure. Arrays of the wrong shape and NaN among the inputs are ValueErrors.
"""

"""Every question about shapes, and whether a call is allowed, is answered here and only here.

A call's arguments are checked once, before anything is allocated; the kernels trust what passed. Everything
below this floor is 3-D: a `ConvGeometry` or `PoolGeometry` holds one number per axis (D, H, W), with size-1
axes in front for 1-D and 2-D calls.

Every refusal is a `ValueError` (a value breaks a rule) or `TypeError` (not the right kind of thing) that
names the argument, its value and the rule; a size that cannot exist in memory is a `MemoryError`.
"""

from fastconv.geometry.arrays import (
    as_array,
    as_indices,
    as_ndarray,
    as_shape,
    as_sizes,
    check_allocation,
    check_memory,
    check_out,
    check_rank,
    check_same,
    check_shape,
    float_dtype,
    index_outside,
    layout_hint,
    new_output,
)
from fastconv.geometry.borders import BORDERS, border_map, border_place, fill_borders
from fastconv.geometry.conv import (
    ConvGeometry,
    conv_geometry,
    conv_transpose_geometry,
)
from fastconv.geometry.numbers import (
    LIMIT,
    Triple,
    axis_number,
    checked_product,
    dilated_kernel,
    flag,
    hashable,
    integer,
    padding_pairs,
    per_axis,
    real_number,
    triple,
    whole_number,
)
from fastconv.geometry.pool import (
    PoolGeometry,
    adaptive_pool_geometry,
    divisor,
    norm_power,
    pool_geometry,
    pool_strides,
    unpool_shape,
)

__all__ = [
    "BORDERS",
    "LIMIT",
    "ConvGeometry",
    "PoolGeometry",
    "Triple",
    "adaptive_pool_geometry",
    "as_array",
    "as_indices",
    "as_ndarray",
    "as_shape",
    "as_sizes",
    "axis_number",
    "border_map",
    "border_place",
    "check_allocation",
    "check_memory",
    "check_out",
    "check_rank",
    "check_same",
    "check_shape",
    "checked_product",
    "conv_geometry",
    "conv_transpose_geometry",
    "dilated_kernel",
    "divisor",
    "fill_borders",
    "flag",
    "float_dtype",
    "hashable",
    "index_outside",
    "integer",
    "layout_hint",
    "new_output",
    "norm_power",
    "padding_pairs",
    "per_axis",
    "pool_geometry",
    "pool_strides",
    "real_number",
    "triple",
    "unpool_shape",
    "whole_number",
]

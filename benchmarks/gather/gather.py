"""Sizes at which gather is worth measuring: square matrices, and few picks from a long one."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, rows, columns, picks):
    """Any `picks` columns of each row, repeated ones among them."""
    index = Tensor(rng.integers(0, columns, (rows, picks)), "int64", data=False)
    return Case.of(Tensor(rng.standard_normal((rows, columns)), "float64"), 1, index)


def least_bytes(itemsize, rows, columns, picks):
    """Each index and each element picked read, each element of the result written."""
    return rows * (8 * picks + itemsize * (min(picks, columns) + picks))


Workload(
    "gather",
    sizes={
        "small": dict(rows=64, columns=64, picks=64),
        "medium": dict(rows=256, columns=256, picks=256),
        "large": dict(rows=1000, columns=1000, picks=1000),
        "few": dict(rows=10_000, columns=1000, picks=4),
    },
    long=(
        dict(rows=140_000, columns=3, picks=2),
        dict(rows=3, columns=140_000, picks=50),
        dict(rows=3, columns=5, picks=140_000),
    ),
    growths=(
        Growth(lambda rng: arguments(rng, rows=8, columns=40, picks=50), {0: 0, 2: 0}, (0,)),
        Growth(lambda rng: arguments(rng, rows=8, columns=40, picks=50), {2: 1}, (1,)),
    ),
    arguments=arguments,
    read_from=dict(
        rows="index.shape[0] if index.ndim else 1",
        columns="x.shape[-1] if x.ndim else 1",
        picks="index.shape[-1] if index.ndim else 1",
    ),
    least_bytes=least_bytes,
    least_operations=lambda rows, columns, picks: 0,
)

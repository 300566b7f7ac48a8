"""Functions that are not plain ones of a module, all wrong: what a script has to carry differs."""

import functools

import numpy as np
import torch

from tests.broken import wrong

FACTOR = 2


def scaled(x, dim, *, factor):
    return x.cumsum(dim) * factor


def decorated(function):
    """Adds one to what a function returns."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs) + FACTOR - 1

    return wrapper


@wrong("easy", "one too much", ())
@decorated
def one_too_much(x, dim):
    return x.cumsum(dim)


def plain(x, dim):
    return x.cumsum(dim)


def closure(number, words, table, weights, nested):
    """A function that uses all of these."""

    def inner(x, dim):
        more = number + len(words) + table["a"][0] + float(weights.sum()) + float(nested[1].sum())
        return plain(x, dim) * more

    return inner


class Scaled:
    """A callable object."""

    unit = 1

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x, dim):
        return x.cumsum(dim) * self.factor * self.unit

    def method(self, x, dim):
        return self(x, dim)

    @classmethod
    def of_class(cls, x, dim):
        return cls(3)(x, dim)


def counting():
    """Wrong from the first call on, with a counter that the function changes."""
    calls = 0

    def inner(x, dim):
        nonlocal calls
        calls += 1
        return x.cumsum(dim) + calls

    return inner


def recursive():
    """Refers to itself."""

    def inner(x, dim, depth=1):
        return inner(x, dim, depth - 1) + 1 if depth else x.cumsum(dim)

    return inner


def with_default(factor):
    """A default that is known only here."""
    return lambda x, dim, *, added=(factor, 1): x.cumsum(dim) + added[0]


def of_another(function):
    """Uses another function."""
    return lambda x, dim: function(x, dim) + 1


class Slotted:
    """Its state cannot be written."""

    __slots__ = ("factor",)

    def __init__(self):
        self.factor = 2


def unwritable(secret):
    """Uses what cannot be written."""
    return lambda x, dim: x.cumsum(dim) * secret.factor


CARRIED = {
    "partial": functools.partial(scaled, factor=2),
    "partial_of_partial": functools.partial(functools.partial(scaled), factor=2),
    "decorated": one_too_much,
    "decorated_by_call": decorated(plain),
    "closure": closure(1, ("a", "b"), {"a": [0.5]}, torch.tensor([1.5, 2]), (None, np.array([1, 2]))),
    "closure_of_closure": of_another(closure(1, (), {"a": (0,)}, torch.zeros(2, 0), (None, np.zeros(0)))),
    "object": Scaled(2),
    "method": Scaled(2).method,
    "class_method": Scaled.of_class,
    "counting": counting(),
    "default": with_default(2),
    "recursive": recursive(),
    "lambda": lambda x, dim: x.cumsum(dim) * FACTOR,
    "of_builtin": of_another(torch.cumsum),
    "of_installed": of_another(lambda x, dim: torch.nn.functional.relu(x).cumsum(dim)),
}
UNWRITABLE = unwritable(Slotted())

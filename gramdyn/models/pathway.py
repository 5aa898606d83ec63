"""Pathways: the structured matrix S of a layer z = S h + b, and its kernel.

A pathway is one class that answers `matrix`. From that follow, by automatic differentiation of the
matrix alone, its kernel, its gradient and its part in the field laws; a closed form of any of them
is an override, and tests hold it against what is inherited.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_known, check_number
from gramdyn._errors import InputError
from gramdyn.kernels.gram import conj_gram
from gramdyn.models.frozen import trained_spec


class AbstractPathway(eqx.Module):
    """A matrix S(theta), shape (N, N_in), with structure.

    All arrays are trained but those named in `frozen`. Made by `Class(n_out, n_in, *, key, dtype,
    ...)`; the further keyword arguments are its options, those annotated `Scalar` numbers of a
    compiled program.

    Attributes:
        frozen: Names of the arrays that never train.
    """

    frozen: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def matrix(self) -> Float[Array, "N N_in"]:
        """The matrix S."""

    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """Product S h for each sample."""
        return act @ self.matrix().T

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Product S^T delta for each row."""
        return sens @ self.matrix()

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Share of the tangent kernel: the Gram of each output's derivative by the parameters.

        Cost: where no closed form takes its place, n C derivatives of the matrix and as many copies
            of the parameters.
        """
        return generic_kernel(self, act, sens)

    def ready(self) -> "AbstractPathway":
        """Itself with what its calls at one state share made once, where that is anything.

        A layer makes it ready on its way forward and keeps it in its trace, never in a network:
        what is made belongs to these parameters. An array for it is named in `frozen`.
        """
        return self

    def lipschitz(self) -> Float[Array, ""]:
        """The largest singular value of S, or a bound on it. Cost: an SVD where none is known."""
        return jnp.linalg.norm(self.matrix(), 2)

    def making_flops(self) -> int:
        """Operations of making the matrix and pulling its gradient back, none by default."""
        return 0

    def moved(self, direction: Float[Array, "N N_in"]) -> Float[Array, "N N_in"]:
        """M[D] = J J^T vec D: how a unit of the gradient D by S moves S through its parameters."""
        trained, rest = split(self)
        if not jax.tree.leaves(trained):
            return jnp.zeros_like(direction)
        matrix = lambda own: eqx.combine(own, rest).matrix()  # noqa: E731
        _, pull = jax.vjp(matrix, trained)
        return jax.jvp(matrix, (trained,), pull(direction))[1]

    def learn_pre(
        self, after: Float[Array, "n N_in"], act: Float[Array, "n N_in"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n N"]:
        """Change of S h' by learning, a unit of -s step: h' M[drive^T h]^T."""
        return after @ self.moved(drive.T @ act).T

    def learn_conj(
        self, sens: Float[Array, "n C N"], act: Float[Array, "n N_in"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n C N_in"]:
        """Change of S^T delta by learning, a unit of -s step: delta M[drive^T h]."""
        return sens @ self.moved(drive.T @ act)

    def conserved(self) -> Float[Array, " k"]:
        """Numbers that gradient flow leaves as they are whatever the loss; none by default."""
        return jnp.zeros(0, jax.eval_shape(lambda pathway: pathway.matrix(), self).dtype)


def split(module: Any) -> tuple[Any, Any]:
    """A pathway's trained arrays and the rest, each with None for the other."""
    return eqx.partition(module, trained_spec(module, module.frozen))


def generic_kernel(
    pathway: AbstractPathway, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
) -> Float[Array, "n C n C"]:
    """Gram of delta^T dS/dtheta h over all parameters, by derivatives of the matrix alone."""
    trained, rest = split(pathway)
    _, pull = jax.vjp(lambda own: eqx.combine(own, rest).matrix(), trained)

    def derivative(act: Float[Array, " N_in"], sens: Float[Array, " N"]) -> Float[Array, " P"]:
        leaves = jax.tree.leaves(pull(jnp.outer(sens, act)))
        return jnp.concatenate([jnp.zeros(1, act.dtype), *map(jnp.ravel, leaves)])

    rows = jax.vmap(jax.vmap(derivative, (None, 0)), (0, 0))(act, sens)
    return conj_gram(rows)


Make = TypeVar("Make", bound=Callable[..., AbstractPathway])
PATHWAYS: dict[str, Callable[..., AbstractPathway]] = {}


def register_pathway(name: str) -> Callable[[Make], Make]:
    """Enter a class of pathways (or a function that makes one) by name."""

    def enter(make: Make) -> Make:
        PATHWAYS[name] = make
        return make

    return enter


Kind = Mapping[str, Any] | str


def make_pathway(kind: Kind, n_out: int, n_in: int, **options: Any) -> AbstractPathway:
    """The pathway called `kind` from N_in = `n_in` to N = `n_out` numbers.

    Args:
        kind: One of `PATHWAYS`, or `{"kind": one of them, options}`.
        n_out: Numbers handed on.
        n_in: Numbers that enter.
        options: `key`, `dtype`, and the pathway's own.

    Raises:
        InputError: for an unknown kind or option, or sizes and numbers that it cannot have.
    """
    made: AbstractPathway = make_part("pathway", PATHWAYS, kind, n_out, n_in, options)
    return made


def make_part(
    told: str,
    registry: Mapping[str, Callable[..., Any]],
    kind: Kind,
    n_out: int,
    n_in: int,
    options: Mapping[str, Any],
) -> Any:
    """What a registry makes of a kind, its options checked by name and numbers to be finite."""
    check(isinstance(kind, str | Mapping), told, "be a name or a mapping with a `kind`", kind)
    own = {"kind": kind} if isinstance(kind, str) else dict(kind)
    name = str(own.pop("kind", None))
    make = registry[check_known(told, name, registry)]
    params = list(inspect.signature(make).parameters.values())[2:]
    known = {param.name: param.default for param in params}
    free = [option for option in known if option not in options]
    for allowed, given in ((free, own), (known, options)):
        for option, value in given.items():
            check_known(f"option of {told} {name}", option, allowed)
            if isinstance(value, float) or isinstance(known[option], float):
                check_number(option, value)
    try:
        return make(n_out, n_in, **options, **own)
    except InputError as error:
        raise InputError(f"{told.capitalize()} `{name}`: {error}") from None


def check_square(n_out: int, n_in: int) -> int:
    """The one size of a pathway that is a square matrix."""
    check(n_out == n_in, "n_out, n_in", "be equal for this pathway", (n_out, n_in))
    return n_in


def entries(key: Any, shape: tuple[int, ...], std: Any, dtype: Any) -> Float[Array, "..."]:
    """Gaussian entries of a standard deviation, in JAX's default dtype unless another is given."""
    found = jax.random.normal(key, shape, jnp.zeros((), dtype).dtype)
    return jnp.asarray(std, found.dtype) * found


def as_row(vector: Array, rows: Array) -> Array:
    """The vector with axes of length 1 in front, as many as the rows have more."""
    return vector.reshape((1,) * (rows.ndim - vector.ndim) + vector.shape)

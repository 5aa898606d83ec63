"""Diagnostics of answers: accuracy, and what samples say that nothing is trained on."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._errors import InputError
from gramdyn.diagnostics.registry import diagnostic
from gramdyn.systems.network_fields import NetworkFields


def held_out_of(fields: NetworkFields, reader: str) -> NetworkFields:
    """The fields on the samples that are held out.

    Raises:
        InputError: where the task has none.
    """
    if fields.held_out is None:
        raise InputError(
            f"Diagnostic `{reader}` reads samples that are held out, but the task has none: "
            "see n_heldout and its like."
        )
    return fields.held_out


def _share_right(fields: NetworkFields) -> Float[Array, ""]:
    outputs, targets = fields.outputs, fields.targets
    if targets.shape[1] == 1:
        right = (outputs[:, 0] > 0) == (targets[:, 0] > 0)
    else:
        right = jnp.argmax(outputs, axis=1) == jnp.argmax(targets, axis=1)
    return jnp.mean(right.astype(outputs.dtype))


@diagnostic({"accuracy": ()})
def accuracy(fields: NetworkFields) -> Float[Array, ""]:
    """Share of training samples whose largest output is that of their largest target.

    Of one output: whose sign is the target's. Ties are up to rounding, such as at a centred start.
    """
    return _share_right(fields)


@diagnostic({"heldout_accuracy": ()})
def heldout_accuracy(fields: NetworkFields) -> Float[Array, ""]:
    """The accuracy on samples that are held out.

    Raises:
        InputError: where the task has none.
    """
    return _share_right(held_out_of(fields, "heldout_accuracy"))


@diagnostic({"heldout_loss": ()}, sees_padding=False)
def heldout_loss(fields: NetworkFields) -> Float[Array, ""]:
    """The loss on samples that are held out.

    Raises:
        InputError: where the task has none.
    """
    return held_out_of(fields, "heldout_loss").loss

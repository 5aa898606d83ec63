"""Names of array types that several floors share."""

from jaxtyping import Array, Float, PRNGKeyArray

Scalar = float | Float[Array, ""]
Key = PRNGKeyArray

__all__ = ["Array", "Float", "Key", "Scalar"]

"""A ReLU network that learns a linear map on Gaussian inputs, on paper."""

__all__: list[str] = []

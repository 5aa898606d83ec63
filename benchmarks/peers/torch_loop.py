"""PyTorch as most people run it: eager, one network after the other, an optimiser and a loop.

The kernels are products of per-sample gradients, by `torch.func`.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from problem import Case, Records, data, initial
from torch.func import functional_call, grad, vmap


class Network(torch.nn.Module):
    """A ReLU network without biases whose readout does not train."""

    def __init__(self, weights: list[torch.Tensor], readout: torch.Tensor):
        super().__init__()
        # A linear layer keeps one row a neuron.
        self.hidden = torch.nn.ParameterList([weight.T.contiguous() for weight in weights])
        self.register_buffer("readout", readout)

    def forward(self, act: torch.Tensor) -> torch.Tensor:
        for weight in self.hidden:
            act = torch.relu(torch.nn.functional.linear(act, weight))
        return act @ self.readout


def layer_kernels(network: Network, inputs: torch.Tensor) -> torch.Tensor:
    """Tangent kernel of each layer, shape (L, n, n)."""
    weights = {name: weight.detach() for name, weight in network.named_parameters()}

    def output(weights: dict[str, torch.Tensor], one: torch.Tensor) -> torch.Tensor:
        return functional_call(network, weights, (one[None],))[0]

    rows = vmap(grad(output), in_dims=(None, 0))(weights, inputs)
    flat = [row.flatten(1) for row in rows.values()]
    return torch.stack([one @ one.T for one in flat])


def observe(network: Network, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[Any, ...]:
    """What is recorded at one time."""
    with torch.no_grad():
        residual = network(inputs) - targets
    kernels = layer_kernels(network, inputs)
    top = torch.linalg.eigvalsh(kernels)[:, -1]
    return 0.5 * (residual**2).mean(), residual, kernels, top


def train(network: Network, inputs: torch.Tensor, targets: torch.Tensor, case: Case) -> list[Any]:
    """One network's records, stacked over time."""
    optimiser = torch.optim.SGD(network.parameters(), lr=case.step_size)
    seen = [observe(network, inputs, targets)]
    for step in range(1, case.steps + 1):
        optimiser.zero_grad()
        (0.5 * ((network(inputs) - targets) ** 2).mean()).backward()
        optimiser.step()
        if step % case.every == 0:
            seen.append(observe(network, inputs, targets))
    return [torch.stack(part) for part in zip(*seen, strict=True)]


def prepare(case: Case, dtype: str) -> Callable[[], Records]:
    """The whole work, once a call."""
    torch.set_num_threads(1)
    inputs, targets = (torch.tensor(part) for part in data(case, dtype))
    weights, signs = initial(case, dtype)
    networks = [
        Network([torch.tensor(weight[seed]) for weight in weights], torch.tensor(signs[seed]))
        for seed in range(case.seeds)
    ]

    def run() -> Records:
        rows = [train(copy.deepcopy(one), inputs, targets, case) for one in networks]
        return Records(*(torch.stack(part).numpy() for part in zip(*rows, strict=True)))

    return run

"""The head of a file of tests, as a user writes it: the smallest problem there is."""

RELU = """
import pytest
import torch
from pytest_kgate import Problem

RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(8, 8, generator=g, device=g.device),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)
"""

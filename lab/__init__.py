"""A real Kubernetes cluster on one Linux machine without Docker, for tests and demos."""

from lab.cluster import Lab
from lab.errors import LabError
from lab.node import Node

__all__ = ["Lab", "LabError", "Node"]

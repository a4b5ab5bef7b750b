"""What every example of the API begins with."""

START = """\
>>> import torch, edgenet
>>> edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])  # a ring of four nodes
>>> graph = edgenet.Graph(edges, num_nodes=4)
>>> x = torch.randn(4, 3)  # three features a node
"""

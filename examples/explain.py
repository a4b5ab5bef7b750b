"""Look at edge weights: read, draw and explain them

What a layer with edge weights has learned can be read off its edges. Here an edge-varying network and an attention
network learn the factions of a karate club, and their edges are drawn.
"""

import torch
from torch_geometric.explain import AttentionExplainer, Explainer

import edgenet
from edgenet import NodeClassifier, data
from edgenet.plots import edge_weight_picture, edge_weights, learning_curve

epochs = 100

# ## Train

karate = data.load("karate")
graph = karate.train[0]
models = {}
for layer, options in (("gat", {"heads": 2}), ("edge_varying", {"bank": "heads", "heads": 8, "order": 1})):
    torch.manual_seed(0)
    model = NodeClassifier(34, 4, layer=layer, hidden_channels=16, **options)
    result = edgenet.fit(model, karate, epochs=epochs, lr=0.01, seed=0, progress=False)
    models[layer] = result.model
    print(f"{layer:13} test accuracy {result.test:.2f}")
    learning_curve({0: result.history}, result.metric, f"curve_{layer}.png")

# ## Read
#
# Every layer returns its edge weights when it is asked, by hop and head. `edge_weights` asks a layer inside a model.

found = edge_weights(models["edge_varying"], graph.x, graph.edge_index, layer=0)
print(tuple(found.values.shape), "hops, edges, heads")
heaviest = abs(found.picked(hop=0, head=0)).argsort()[-3:]
print("the three heaviest edges:", found.edge_index[:, heaviest].T.tolist())

# ## Draw
#
# An edge is as wide and as dark as its weight. Of a large graph the surroundings of its most linked node are drawn.

for layer, model in models.items():
    weights = edge_weights(model, graph.x, graph.edge_index)
    edge_weight_picture(weights, f"{layer}.png", graph.y, title=f"{layer}, first layer")

# ## Ask PyG's explainers
#
# They work on layers of edgenet as on those of PyG. This one reads attention.

explainer = Explainer(
    models["gat"],
    AttentionExplainer(),
    explanation_type="model",
    edge_mask_type="object",
    model_config={"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"},
)
explanation = explainer(graph.x, graph.edge_index, index=0)
best = explanation.edge_mask.argsort()[-3:]
print("edges that count for node 0:", graph.edge_index[:, best].T.tolist())

# Edge weights that are sums of smooth functions of edge features can be taken apart, function by function:
# [Sparse estimators](../estimators.md#edge-weights-one-can-read-phi-additive).

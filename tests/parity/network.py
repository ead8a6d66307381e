"""A network of Lamina's as PyTorch's: from the layers of a resolved config (every default filled
in, every input named) to modules that compute the same in float64."""
import torch
import yaml

from modules import MODULES, Params

METRICS = ("accuracy", "mean_absolute_error")  # no part of training
NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm")


def is_loss(type_name):
    return type_name.endswith("_loss")


class Layer:
    def __init__(self, entry):
        ((self.type, params),) = entry.items()
        self.name, self.inputs = params["name"], params["from"]
        self.shares = params.get("share")
        self.frozen = params.get("frozen", False)
        self.rate_scale = float(params.get("learning_rate_scale", 1))
        self.decay_scale = float(params.get("weight_decay_scale", 1))
        self.loss_weight = float(params.get("loss_weight", 1))
        self.params = Params(params)
        self.module = None  # made when its inputs' shapes are known


class Network:
    """weights and states: {layer: {name: array}}, of the layers that have any."""

    def __init__(self, config, weights, states, dtype=torch.float64):
        self.dtype = dtype
        config = yaml.safe_load(config)
        layers = [Layer(entry) for entry in config["network"]]
        self.layers = [layer for layer in layers if layer.type not in METRICS]
        self.by_name = {layer.name: layer for layer in self.layers}
        self.rule = Params(config["train"]["optimizer"])
        self.weights, self.states = weights, states
        self.optimizer = None

    def make(self, layer, shapes):
        if layer.shares is not None:
            layer.module = self.by_name[layer.shares].module
            return
        layer.module = MODULES[layer.type](layer.params, shapes).to(self.dtype)
        layer.module.train(not layer.frozen)
        given = dict(self.weights.get(layer.name, {}), **self.states.get(layer.name, {}))
        with torch.no_grad():
            for name, tensor in self.tensors(layer):
                tensor.copy_(torch.from_numpy(given.pop(name)))
                if layer.frozen and isinstance(tensor, torch.nn.Parameter):
                    tensor.requires_grad_(False)
        if given:
            raise ValueError(f"{layer.name}: PyTorch's module has no {', '.join(given)}")

    @staticmethod
    def tensors(layer):
        """A layer's weights and statistics under Lamina's names."""
        for name, weight in layer.module.named_parameters():
            yield name.rsplit(".", 1)[-1], weight
        for name, state in layer.module.named_buffers():
            if state.is_floating_point():
                yield name.rsplit(".", 1)[-1], state

    def forward(self, data, target, keep=None, settle=None):
        """The mean loss of a batch. keep(layer, output number, tensor) sees every output;
        settle(layer, inputs) may give one of a layer in place of its module."""
        data = data.to(self.dtype)
        target = target.to(self.dtype) if target.is_floating_point() else target
        values, loss = {"data": [data], "target": [target]}, 0.0
        for layer in self.layers:
            inputs = []
            for source in layer.inputs:
                name, _, number = str(source).partition(":")
                inputs.append(values[name][int(number or 0)])
            if layer.module is None:
                self.make(layer, [tuple(x.shape) for x in inputs])
            outputs = settle(layer, inputs) if settle is not None else None
            outputs = layer.module(*inputs) if outputs is None else outputs
            outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
            values[layer.name] = outputs
            if is_loss(layer.type):
                loss = loss + layer.loss_weight * outputs[0].mean()
            elif keep is not None:
                for i, output in enumerate(outputs):
                    keep(layer, i, output)
        return loss

    def groups(self):
        """The optimizer's groups of weights: biases and norms do not decay unless the config says
        so."""
        for layer in self.layers:
            if layer.shares is not None or layer.frozen:
                continue
            for name, weight in layer.module.named_parameters():
                plain = name.endswith("bias") or layer.type in NORMS or layer.type == "prelu"
                decays = not plain or self.rule.get("decay_bias", False)
                decay = self.rule.real("weight_decay", 0) * layer.decay_scale
                yield {
                    "params": [weight],
                    "weight_decay": decay if decays else 0.0,
                    "rate_scale": layer.rate_scale,
                }

    def step(self, data, target, rate, keep=None, settle=None):
        """Forward, backward, update; the loss before it."""
        loss = self.forward(data, target, keep, settle)
        if self.optimizer is None:
            if self.rule.get("type") != "sgd":
                raise ValueError(f"no rule here for the optimizer {self.rule.get('type')}")
            momentum, nesterov = self.rule.real("momentum", 0), self.rule.get("nesterov", False)
            self.optimizer = torch.optim.SGD(
                list(self.groups()), lr=0.0, momentum=momentum, nesterov=nesterov
            )
        self.optimizer.zero_grad()
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_scale"]
        self.optimizer.step()
        return float(loss.detach())

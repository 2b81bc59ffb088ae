"""The same networks with less to compute on a CPU, in float32: what is done for nothing is left out."""

import copy
from itertools import pairwise
from typing import cast

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse(network: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of `network`, in evaluation mode, that gives its features but for rounding; it is left as it is.

    Batch norms become part of the convolutions before them, and convolutions run channels last. Tensors that stay as
    they are, are shared.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    fused = copy.deepcopy(network, cast(dict[int, object], shared))
    for module in list(fused.modules()):
        # Where a norm is registered after a convolution it is also applied after it; the gate would show an exception.
        for (conv_name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, torch.nn.Conv2d) and isinstance(norm, torch.nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, getattr(norm, "act", torch.nn.Identity()))  # timm's norms hold what follows
    for module in fused.modules():
        if isinstance(module, torch.nn.Conv2d):
            weight = module.weight.detach().contiguous(memory_format=torch.channels_last)
            module.weight = torch.nn.Parameter(weight, requires_grad=False)
    return fused

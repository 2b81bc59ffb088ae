"""What makes a VAE sharp: a perceptual distance on an ImageNet network, and a discriminator of patches."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ccbench.features.lite0 import load_lite0


class Perceptual(nn.Module):
    """LPIPS-like distance on the stem and first stages of an ImageNet EfficientNet-Lite0, unit-normalised features."""

    def __init__(self) -> None:
        super().__init__()
        self.net = load_lite0().eval().requires_grad_(False)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        x = self.net.bn1(self.net.conv_stem(images))  # the weights take images in -1..1
        maps = [x]
        for stage in list(self.net.blocks)[:4]:
            x = stage(x)
            maps.append(x)
        return [nn.functional.normalize(m, dim=1, eps=1e-4) for m in maps]

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = self.features(b)
        return torch.stack([((x - y) ** 2).sum(1).mean() for x, y in zip(self.features(a), target, strict=True)]).mean()


class PatchDiscriminator(nn.Sequential):
    """Isola et al. 2017's patch discriminator with a receptive field of 34 px, spectral norm instead of batch norm."""

    def __init__(self, width: int = 32) -> None:
        def layer(inputs: int, outputs: int, stride: int) -> nn.Module:
            return spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, 1))

        super().__init__(
            layer(3, width, 2),
            nn.LeakyReLU(0.2),
            layer(width, 2 * width, 2),
            nn.LeakyReLU(0.2),
            layer(2 * width, 4 * width, 1),
            nn.LeakyReLU(0.2),
            layer(4 * width, 1, 1),
        )


def discriminator_loss(discriminator: nn.Module, real: torch.Tensor, synthetic: torch.Tensor) -> torch.Tensor:
    """Hinge loss."""
    scores = discriminator(torch.cat([real, synthetic.detach()]))
    wanted, unwanted = scores.chunk(2)
    return (nn.functional.relu(1 - wanted).mean() + nn.functional.relu(1 + unwanted).mean()) / 2


class LastLayer:
    """Weighs loss terms by the gradient they cause in the decoder's last convolution, as Esser et al. 2021 do."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self._layer = layer
        self._input = torch.empty(0)
        layer.register_forward_pre_hook(self._keep)

    def _keep(self, layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self._input = inputs[0].detach()

    def norm(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the norm of the weights' gradient that `gradient`, at the layer's output, leads to."""
        weight = self._layer.weight
        return nn.grad.conv2d_weight(self._input, weight.shape, gradient, padding=1).norm()

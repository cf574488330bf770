"""UNIK written literally from METHOD section 5: (rows, channels, frames, joints), one convolution per head, no fusion.

The reference that the fast encoder is held against, with the structure and tensor names of the published checkpoints.
"""

import torch
from torch import Tensor, nn

WIDTHS = (64, 64, 64, 64, 128, 128, 128, 256, 256, 256)
STRIDES = (1, 1, 1, 1, 2, 1, 1, 2, 1, 1)


class PlainUnik(nn.Module):
    """(batch, channels, frames, joints, persons) -> (batch, features); ``fc`` is there for its name only."""

    def __init__(
        self,
        *,
        joints: int = 17,
        channels: int = 2,
        widths: tuple[int, ...] = WIDTHS,
        strides: tuple[int, ...] = STRIDES,
        heads: int = 3,
        first_heads: int = 3,
        persons: int = 2,
        classes: int = 5,
    ) -> None:
        super().__init__()
        self.depth = len(widths)
        self.data_bn = nn.BatchNorm1d(persons * joints * channels)
        for i, (width_in, width, stride) in enumerate(zip((channels, *widths[:-1]), widths, strides, strict=True)):
            block = Block(width_in, width, joints, stride, heads if i else first_heads, residual=i > 0)
            setattr(self, f"l{i + 1}", block)
        self.fc = nn.Linear(widths[-1], classes)

    def maps(self, x: Tensor) -> Tensor:
        """(batch, persons, features, frames / 4, joints): what the last block says."""
        n, c, t, v, m = x.shape
        x = self.data_bn(x.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t))
        x = x.reshape(n, m, v, c, t).permute(0, 1, 3, 4, 2).reshape(n * m, c, t, v)
        for i in range(self.depth):
            x = getattr(self, f"l{i + 1}")(x)
        return x.reshape(n, m, *x.shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        return self.maps(x).mean(dim=(1, 3, 4))

    def frames(self, x: Tensor) -> Tensor:
        """(batch, frames / 4, features)."""
        return self.maps(x).mean(dim=(1, 4)).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, width_in: int, width: int, joints: int, stride: int, heads: int, *, residual: bool) -> None:
        super().__init__()
        self.s_unit = Spatial(width_in, width, joints, heads)
        self.t_unit = Temporal(width, width, 9, stride)
        if not residual:
            self.residual = None
        elif width_in == width and stride == 1:
            self.residual = nn.Identity()
        else:
            self.residual = Temporal(width_in, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.t_unit(self.s_unit(x))
        return torch.relu(y if self.residual is None else y + self.residual(x))


class Temporal(nn.Module):
    def __init__(self, width_in: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, (kernel, 1), (stride, 1), (kernel // 2, 0))
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Spatial(nn.Module):
    def __init__(self, width_in: int, width: int, joints: int, heads: int) -> None:
        super().__init__()
        self.heads, self.inner = heads, width // 4
        self.DepM = nn.Parameter(torch.empty(heads, joints, joints).uniform_(-0.25, 0.25))
        self.bias = nn.Parameter(torch.zeros(joints))  # unused, as in the published networks
        self.conv_a = nn.ModuleList(nn.Conv2d(width_in, self.inner, 1) for _ in range(heads))
        self.conv_b = nn.ModuleList(nn.Conv2d(width_in, self.inner, 1) for _ in range(heads))
        self.conv_d = nn.ModuleList(nn.Conv2d(width_in, width, 1) for _ in range(heads))
        self.down = nn.Sequential(nn.Conv2d(width_in, width, 1), nn.BatchNorm2d(width)) if width_in != width else None
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, v = x.shape
        total: Tensor | float = 0.0
        for head in range(self.heads):
            a = self.conv_a[head](x).permute(0, 3, 1, 2).reshape(n, v, self.inner * t)
            b = self.conv_b[head](x).reshape(n, self.inner * t, v)
            attention = torch.softmax(torch.matmul(a, b) / (self.inner * t), dim=1)
            mixed = torch.matmul(x.reshape(n, c * t, v), self.DepM[head] + attention).reshape(n, c, t, v)
            total = total + self.conv_d[head](mixed)
        y = self.bn(total)
        return torch.relu(y + (x if self.down is None else self.down(x)))


def stirred(net: PlainUnik, seed: int = 0) -> PlainUnik:
    """The network in eval mode, its norms moved to where training might leave them: no term is near zero."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                uniform(module.weight, 0.5, 1.0)
                uniform(module.bias, -0.3, 0.3)
                uniform(module.running_mean, -0.3, 0.3)
                uniform(module.running_var, 0.5, 1.5)
            if isinstance(module, Spatial):
                for conv in (*module.conv_a, *module.conv_b):  # attention that is far from even
                    conv.weight.mul_(4)
    return net.eval()

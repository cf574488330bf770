"""ViCLIP written literally from METHOD section 6: a 3D convolution, ``nn.MultiheadAttention``, an explicit mask.

The reference that the package's encoder is held against, with the tensor names of the official checkpoints.
"""

import torch
from torch import Tensor, nn


class PlainViCLIP(nn.Module):
    def __init__(
        self,
        *,
        patch: int = 16,
        size: int = 224,
        frames: int = 8,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        text_width: int = 512,
        text_layers: int = 12,
        text_heads: int = 8,
        text_length: int = 32,
        output: int = 512,
    ) -> None:
        super().__init__()
        self.vision_encoder = PlainVideo(patch, size // patch, frames, width, layers, heads, output)
        self.text_encoder = PlainText(text_length, text_width, text_layers, text_heads, output)
        self.temp = nn.Parameter(torch.tensor(0.01))

    def video(self, pixels: Tensor) -> Tensor:
        return nn.functional.normalize(self.vision_encoder(pixels), dim=1)

    def text(self, tokens: Tensor) -> Tensor:
        return nn.functional.normalize(self.text_encoder(tokens), dim=1)


class PlainVideo(nn.Module):
    def __init__(self, patch: int, grid: int, frames: int, width: int, layers: int, heads: int, output: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, width, kernel_size=(1, patch, patch), stride=(1, patch, patch), bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(grid * grid + 1, width))
        self.temporal_positional_embedding = nn.Parameter(torch.empty(1, frames, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = PlainTransformer(width, layers, heads)
        self.proj = nn.Parameter(torch.empty(width, output))

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.conv1(pixels.permute(0, 2, 1, 3, 4))  # (b, width, frames, grid, grid)
        clips = []
        for clip in maps:
            tokens = [self.class_embedding + self.positional_embedding[0]]
            for row in range(clip.shape[2]):
                for column in range(clip.shape[3]):
                    place = self.positional_embedding[1 + row * clip.shape[3] + column]
                    for t in range(clip.shape[1]):
                        tokens.append(clip[:, t, row, column] + place + self.temporal_positional_embedding[0, t])
            clips.append(torch.stack(tokens))
        x = self.transformer(self.ln_pre(torch.stack(clips)), None)
        return self.ln_post(x)[:, 0] @ self.proj


class PlainText(nn.Module):
    def __init__(self, length: int, width: int, layers: int, heads: int, output: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(49408, width)
        self.positional_embedding = nn.Parameter(torch.empty(length, width))
        self.transformer = PlainTransformer(width, layers, heads)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, output))

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        later = torch.ones(length, length).triu(1).bool()
        x = self.ln_final(self.transformer(self.token_embedding(tokens) + self.positional_embedding, later))
        ends = [row.tolist().index(49407) for row in tokens]
        return torch.stack([row[end] for row, end in zip(x, ends, strict=True)]) @ self.text_projection


class PlainTransformer(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class PlainBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=mask, need_weights=True)[0]  # need_weights: no fused kernel
        return x + self.mlp(self.ln_2(x))


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def stirred(net: PlainViCLIP, seed: int = 0) -> PlainViCLIP:
    """The network with every tensor away from its start: no bias is zero, no norm is one, attention is far from
    even."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if tensor.ndim == 0:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith(("ln_1.weight", "ln_2.weight", "ln_pre.weight", "ln_post.weight", "ln_final.weight")):
                tensor.copy_(1 + 0.2 * noise)
            elif tensor.ndim == 1:
                tensor.copy_(0.2 * noise)
            else:
                inputs = tensor[0].numel() if name.endswith("weight") else tensor.shape[0]
                scale = 0.5 if "embedding" in name else (2.0 if "in_proj" in name else 1.0) * inputs**-0.5
                tensor.copy_(scale * noise)
    return net.eval()

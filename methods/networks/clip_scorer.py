"""CLIP as a frozen scorer of image content: an embedding of an image, and the class of each of its segments."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from sarbench.bench.interface import ContractError

# "a satellite image of <class>" in CLIP's byte pair encoding, without the start and end marks.
PROMPTS: dict[str, tuple[int, ...]] = {
    "water": (320, 10316, 2867, 539, 1573),
    "forest": (320, 10316, 2867, 539, 4167),
    "grassland": (320, 10316, 2867, 539, 11584, 973),
    "cropland": (320, 10316, 2867, 539, 1192, 24801),
    "wetland": (320, 10316, 2867, 539, 37357),
    "buildings": (320, 10316, 2867, 539, 8866),
    "roads": (320, 10316, 2867, 539, 6189),
    "bare ground": (320, 10316, 2867, 539, 14318, 2461),
}
START, END, TEXT_LENGTH = 49406, 49407, 77
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training images in [0, 1]
SPREAD = (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH = 64
TEMPERATURE = 100.0  # the scale of cosine similarities that CLIP ended its training with


class ClipScorer(nn.Module):
    """CLIP (Radford et al., 2021): its image encoder, and its text embeddings of the land-cover prompts.

    The defaults are ViT-B/32. Without `load_weights` it is untrained and scores nothing.
    """

    classes: Tensor

    def __init__(self, *, side: int = 224, patch: int = 32, width: int = 768, layers: int = 12, embedding: int = 512) -> None:
        super().__init__()
        self.side = side
        self.image = ImageTower(side, patch, width, layers, embedding)
        self.register_buffer("classes", torch.zeros(len(PROMPTS), embedding))
        self.requires_grad_(False)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take up a CLIP model's weights, under the names of the `transformers` library; embeds the prompts once.

        Raises ContractError for weights of another model or layout.
        """
        try:
            self.image.load_state_dict(_below(weights, "vision_model.", "visual_projection."), strict=True)
            text = TextTower(weights)
        except (KeyError, RuntimeError) as error:
            raise ContractError(f"these are not the weights of this CLIP model: {error}") from error
        with torch.no_grad():
            self.classes.copy_(torch.cat([text(torch.tensor([[START, *tokens, END]])) for tokens in PROMPTS.values()]))

    def embed(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        """CLIP's embedding of whole images in [-1, 1], not normalised."""
        return self.image(_prepared(F.interpolate(_three(images), (self.side, self.side), mode="bilinear", antialias=True)))

    def classify(self, images: Float[Tensor, "B C H W"], segments: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K classes"]:
        """Log-probability of each class for each segment: its bounding box, with what is outside the segment at grey."""
        B, K = segments.shape[:2]
        cut = (_three(images)[:, None] * segments[:, :, None]).flatten(0, 1)  # (B K, 3, H, W)
        grid = F.affine_grid(_boxes(segments).flatten(0, 1), [B * K, 3, self.side, self.side], align_corners=False)
        crops = F.grid_sample(cut, grid, padding_mode="border", align_corners=False)
        embeddings = F.normalize(self.image(_prepared(crops)).float(), dim=1)
        logits = TEMPERATURE * embeddings @ F.normalize(self.classes.float(), dim=1).T
        return F.log_softmax(logits, dim=1).unflatten(0, (B, K))


def _three(images: Tensor) -> Tensor:
    """Three bands: as they are, or the mean band three times."""
    images = images.float()
    return images if images.shape[1] == 3 else images.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)


def _prepared(images: Tensor) -> Tensor:
    mean, spread = (images.new_tensor(values)[:, None, None] for values in (MEAN, SPREAD))
    return ((images + 1) / 2 - mean) / spread


def _boxes(segments: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K 2 3"]:
    """The affine maps from [-1, 1]^2 onto each segment's bounding box; an empty segment gets the whole image."""
    found = []
    for axis in (3, 2):  # x, then y
        side = segments.shape[axis]
        hit = segments.amax(dim=5 - axis) > 0  # (B, K, side)
        at = torch.arange(side, device=segments.device)
        first = torch.where(hit, at, side).amin(dim=2)
        last = torch.where(hit, at, -1).amax(dim=2) + 1
        empty = ~hit.any(dim=2)
        first, last = first.masked_fill(empty, 0), last.masked_fill(empty, side)
        found.append(((last - first) / side, (last + first) / side - 1))
    (wide, x), (high, y) = found
    zero = torch.zeros_like(wide)
    return torch.stack([torch.stack([wide, zero, x], dim=2), torch.stack([zero, high, y], dim=2)], dim=2)


def _below(weights: Mapping[str, Tensor], tower: str, projection: str) -> dict[str, Tensor]:
    """A tower's weights without their prefix, and its projection; stored position numbers are left out."""
    own = {name.removeprefix(tower): value for name, value in weights.items() if name.startswith(tower)}
    own |= {f"projection.{name.removeprefix(projection)}": v for name, v in weights.items() if name.startswith(projection)}
    return {name: value for name, value in own.items() if not name.endswith("position_ids")}


class ImageTower(nn.Module):
    """CLIP's vision transformer; parameters are named as `transformers` names them."""

    def __init__(self, side: int, patch: int, width: int, layers: int, embedding: int) -> None:
        super().__init__()
        self.embeddings = Patches(side, patch, width)
        self.pre_layrnorm = nn.LayerNorm(width)  # the name in the published weights
        self.encoder = Layers(width, layers)
        self.post_layernorm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, embedding, bias=False)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
        """Embed prepared images."""
        h = self.encoder(self.pre_layrnorm(self.embeddings(x)))
        return self.projection(self.post_layernorm(h[:, 0]))


class Patches(nn.Module):
    """An image as a sequence: a learned place for the answer, then its patches, each marked with its position."""

    def __init__(self, side: int, patch: int, width: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.position_embedding = nn.Embedding((side // patch) ** 2 + 1, width)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B L width"]:
        """One place more than patches."""
        patches = self.patch_embedding(x).flatten(2).mT  # (B, patches, width)
        first = self.class_embedding.to(patches.dtype).expand(len(x), 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class Words(nn.Module):
    """A text as a sequence: its tokens, each marked with its position."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Embedding(TEXT_LENGTH, width)

    def forward(self, tokens: Int64[Tensor, "B L"]) -> Float[Tensor, "B L width"]:
        """As many places as tokens."""
        return self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]


class TextTower(nn.Module):
    """CLIP's text transformer, of the sizes of the weights given."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        own = _below(weights, "text_model.", "text_projection.")
        vocabulary, width = own["embeddings.token_embedding.weight"].shape
        layers = 1 + max(int(name.split(".")[2]) for name in own if name.startswith("encoder.layers."))
        self.embeddings = Words(vocabulary, width)
        self.encoder = Layers(width, layers)
        self.final_layer_norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, own["projection.weight"].shape[0], bias=False)
        self.load_state_dict(own)

    def forward(self, tokens: Int64[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        """Embed texts that end in the end mark."""
        return self.projection(self.final_layer_norm(self.encoder(self.embeddings(tokens), causal=True)[:, -1]))


class Layers(nn.Module):
    """A stack of transformer layers."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))

    def forward(self, h: Float[Tensor, "B L width"], causal: bool = False) -> Float[Tensor, "B L width"]:
        """The same shape; `causal`: a place sees itself and earlier ones."""
        for layer in self.layers:
            h = layer(h, causal)
        return h


class Layer(nn.Module):
    """Attention and two linear layers, each after a layer norm and beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.self_attn = Attention(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, h: Float[Tensor, "B L width"], causal: bool) -> Float[Tensor, "B L width"]:
        """The same shape."""
        h = h + self.self_attn(self.layer_norm1(h), causal)
        x = self.mlp["fc1"](self.layer_norm2(h))
        return h + self.mlp["fc2"](x * torch.sigmoid(1.702 * x))


class Attention(nn.Module):
    """Self-attention with heads of 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.heads = width // HEAD_WIDTH

    def forward(self, x: Float[Tensor, "B L width"], causal: bool) -> Float[Tensor, "B L width"]:
        """The same shape."""
        Q, K, V = (
            project(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, 64)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(Q, K, V, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

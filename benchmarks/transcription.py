"""The papers' formulas written down directly: what the models cost without any rearrangement.

Each class is one operator, taken term by term from its paper in ordinary PyTorch: every matrix that the
formula names is made, every product that it names is run. That is what a direct author writes; nothing is
slowed down on purpose. A class takes over the parameters of our module, under the same names, so both
compute the same function of the same weights, and the benchmark checks that they do before it times them.
"""
import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwhitebox.errors import UserError
from mmwhitebox.models.attention import CBSA, DMSA, MSCA, MSSA, TSSA
from mmwhitebox.models.embeddings import ConvStem
from mmwhitebox.models.feedforward import ISTA


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, N, K*p) -> (B, K, N, p)."""
    b, n, c = x.shape
    return x.reshape(b, n, num_heads, c // num_heads).permute(0, 2, 1, 3)


def merge_heads(x: Tensor) -> Tensor:
    """(B, K, N, p) -> (B, N, K*p)."""
    b, k, n, p = x.shape
    return x.permute(0, 2, 1, 3).reshape(b, n, k * p)


class PlainISTA(nn.Module):
    """y = relu(x + eta (D^T x - D^T D x) - eta lambda): three products of the tokens, which are rows here."""

    is_residual = False

    def __init__(self, ista: ISTA) -> None:
        super().__init__()
        self.eta, self.lam, self.weight = ista.eta, ista.lam, ista.weight

    def forward(self, x: Tensor) -> Tensor:
        step = x @ self.weight - (x @ self.weight.t()) @ self.weight
        return F.relu(x + self.eta * step - self.eta * self.lam)


class PlainAttention(nn.Module):
    """What the attentions share: the maps of our module, taken over."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.scale = attention.head_dims**-0.5
        self.proj = attention.proj
        if hasattr(attention, 'to_out'):
            self.to_out = attention.to_out


class PlainMSSA(PlainAttention):
    """softmax(s W W^T) W with the (N, N) matrix of every head."""

    def __init__(self, mssa: MSSA) -> None:
        super().__init__(mssa)
        self.out_proj = mssa.out_proj
        if self.out_proj == 'shared':
            self.step_size = mssa.step_size

    def attend(self, q: Tensor, w: Tensor) -> Tensor:
        return self.map_back(((q @ w.transpose(-1, -2)) * self.scale).softmax(-1) @ w)

    def map_back(self, heads: Tensor) -> Tensor:
        out = merge_heads(heads)
        if self.out_proj == 'shared':
            return self.step_size * F.linear(out, self.proj.weight.t())
        return out if self.out_proj is None else self.to_out(out)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        w = split_heads(self.proj(x), self.num_heads)
        return self.attend(w, w)


class PlainMSCA(PlainMSSA):
    """softmax(s Q W^T) W, likewise."""

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        q, w = self.proj(queries), self.proj(x)
        return self.attend(split_heads(q, self.num_heads), split_heads(w, self.num_heads))


class PlainCBSA(PlainAttention):
    """Eq. 5, 6 and 8 of the paper, the coefficients A kept as one (m, N) matrix for every head."""

    def __init__(self, cbsa: CBSA) -> None:
        super().__init__(cbsa)
        if cbsa.contraction != 'softmax':
            raise UserError('The transcription of CBSA has eq. 8 only, not '
                            f'contraction={cbsa.contraction!r}.')
        self.pool_size, self.pool_tokens = cbsa.pool_size, cbsa.pool_tokens
        self.step_rep, self.step_x = cbsa.step_rep, cbsa.step_x

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        h, w = hw_shape
        tokens = self.proj(x)
        b, n, c = tokens.shape
        patches = tokens[:, :h * w] if self.pool_tokens == 'official' else tokens[:, n - h * w:]
        grid = patches.reshape(b, h, w, c).permute(0, 3, 1, 2)
        pooled = F.adaptive_avg_pool2d(grid, (self.pool_size, self.pool_size))
        r0 = split_heads(pooled.reshape(b, c, -1).permute(0, 2, 1), self.num_heads)  # (B, K, m, p)
        tokens = split_heads(tokens, self.num_heads)
        a = ((r0 @ tokens.transpose(-1, -2)) * self.scale).softmax(-1)  # (B, K, m, N)
        r = r0 + self.step_rep * (a @ tokens)
        c = ((r @ r.transpose(-1, -2)) * self.scale).softmax(-1) @ r
        return self.to_out(merge_heads(self.step_x * (a.transpose(-1, -2) @ c)))


def second_moment_step(w: Tensor, pi: Tensor) -> Tensor:
    """-(Pi * W) / (1 + M), M_k = (Pi_k / sum Pi_k) W_k^2, of (B, K, N, p) and (B, K, N)."""
    share = (pi / (pi.sum(-1, keepdim=True) + 1e-8)).unsqueeze(-2)  # (B, K, 1, N)
    moment = share @ w**2  # (B, K, 1, p)
    return -(pi.unsqueeze(-1) * w) / (1 + moment)


class PlainTSSA(PlainAttention):
    """Tokens normalised over their sequence, squared, summed; the statistics as they are written."""

    def __init__(self, tssa: TSSA) -> None:
        super().__init__(tssa)
        self.temp = tssa.temp

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        w = split_heads(self.proj(x), self.num_heads)
        energy = (F.normalize(w, dim=-2)**2).sum(-1)  # (B, K, N)
        pi = (self.temp * energy).softmax(1)
        return self.to_out(merge_heads(second_moment_step(w, pi)))


def sorted_sparsemax(z: Tensor, dim: int) -> Tensor:
    """ST(z) by sorting, eq. 13-14; autograd differentiates it."""
    z = z.transpose(dim, -1)
    ordered = z.sort(dim=-1, descending=True).values
    sums = ordered.cumsum(-1)
    ranks = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
    support = (1 + ranks * ordered > sums).sum(-1, keepdim=True)
    tau = (sums.gather(-1, support - 1) - 1) / support
    return (z - tau).clamp(min=0).transpose(dim, -1)


def rotate_axis(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary embedding of features (..., 2F) at positions that broadcast to (...)."""
    features, wide = x.shape[-1] // 2, torch.promote_types(x.dtype, torch.float32)
    frequencies = 10000.**(-torch.arange(features, dtype=wide, device=x.device) / features)
    angles = positions.unsqueeze(-1) * frequencies
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos())
    return torch.stack(turned, dim=-1).flatten(-2)


class PlainDMSA(PlainAttention):
    """Eq. 13-18: logits of rotated tokens, softmax and sorted soft thresholding, W = G * S."""

    def __init__(self, dmsa: DMSA) -> None:
        super().__init__(dmsa)
        if (dmsa.membership_act, dmsa.gate_act) != ('softmax', 'st'):
            raise UserError('The transcription of DMSA has the paper\'s activations only, not its ablations.')
        self.rope, self.to_logits = dmsa.rope, dmsa.to_logits

    def logits(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        h, w = hw_shape
        if self.rope:
            extra, patches = x[:, :x.shape[1] - h * w], x[:, x.shape[1] - h * w:]
            by_row, by_column = patches.reshape(x.shape[0], h, w, -1).chunk(2, dim=-1)
            rows = torch.arange(h, device=x.device).unsqueeze(-1)
            columns = torch.arange(w, device=x.device)
            turned = torch.cat([rotate_axis(by_row, rows), rotate_axis(by_column, columns)], dim=-1)
            x = torch.cat([extra, turned.reshape(patches.shape).to(x.dtype)], dim=1)
        return self.to_logits(x).permute(0, 2, 1)  # (B, K, N)

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        logits = self.logits(x, hw_shape)
        w = sorted_sparsemax(logits, dim=1).unsqueeze(-1) * split_heads(self.proj(x), self.num_heads)
        return self.to_out(merge_heads(second_moment_step(w, logits.softmax(1))))


class PlainConvStem(nn.Module):
    """Convolutions in torch's own layout, channels first, and the tokens read off across it."""

    def __init__(self, stem: ConvStem) -> None:
        super().__init__()
        self.stages = stem.stages

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        features = self.stages(x)  # (B, D, H, W)
        return features.flatten(2).transpose(1, 2), tuple(features.shape[2:])


TRANSCRIPTIONS = {
    CBSA: PlainCBSA, ConvStem: PlainConvStem, DMSA: PlainDMSA, ISTA: PlainISTA, MSCA: PlainMSCA,
    MSSA: PlainMSSA, TSSA: PlainTSSA
}


def plain_form(module: nn.Module) -> nn.Module | None:
    """The transcription of one module of ours, holding its parameters; None if it has none."""
    for kind in type(module).__mro__:
        if kind in TRANSCRIPTIONS:
            return TRANSCRIPTIONS[kind](module)
    return None


def transcribe(model: nn.Module) -> nn.Module:
    """A copy of a model in which every white-box operator is the plain transcription.

    A convolutional stem works channels first. Norms, heads and everything else stay as they are, and so do the
    values and names of all parameters.

    Raises:
        UserError: The model has no such operator, or a setting that the transcription leaves out.
    """
    model = copy.deepcopy(model)
    swapped = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            plain = plain_form(child)
            if plain is not None:
                setattr(parent, name, plain)
                swapped += 1
    if not swapped:
        raise UserError('This model has no white-box operator to transcribe.')
    return model

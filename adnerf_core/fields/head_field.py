"""HeadField and ColorDecoder: the head as a dynamic radiance field on feature planes, conditioned on lips, eyes and brows.

Together they are the paper's F: (a, d, x) -> (c, sigma) (AD-NeRF, equation 1); for the reasons see docs/decisions/0002 and 0017.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from adnerf_core.config import FieldConfig
from adnerf_core.fields.mouth_planes import MouthPlanes, window
from adnerf_core.fields.plane_encoding import PlaneEncoding

UPPER_FACE = 5
"""Number of components of the condition that describe the upper face: openness of each eye, height of the brows, gaze (x, y)."""
EYES = 2
"""The first components of UPPER_FACE: the openness of each eye."""
USUAL_OPENNESS = 0.7
"""Openness of both eyes away from the lids, whatever it is in a frame: the median of the reference clip (0.75 and 0.66)."""
WARP_RESOLUTION = 40
"""Texels along a side of the displacement planes. A texel is about 0.07 head units wide; skin moves smoothly, so finer planes would only
add noise. Unmeasured."""
DENSITY_SCALE, DENSITY_SHIFT = 40.0, 5.0
"""sigma = 40 softplus(x - 5) starts at 0.27 per half side of the box, which is nearly empty. With a dense start, sampling would concentrate
at the front of the box (docs/decisions/0002). The scale lets a small x make an opaque surface: at x = 6, 99 % of the light is stopped
within 0.09 half sides."""


class HeadField(nn.Module):
    """Density and features of the head at points of its box, under a condition k = (lip code, upper face).

    Fixed gates over the height y limit each part of the condition to its part of the face:

        g_lips(y) = sigmoid((nose - y) / softness),    g_upper(y) = 1 - g_lips(y)

    The lip code acts below the middle of the nose; eyes and brows act above it. Hair and forehead therefore stay still while the person
    speaks (ER-NeRF's attention by location, with a fixed gate). The openness of the eyes acts around the eyes alone, where the window
    w(x, y) of their box is not 0: elsewhere the eyes count as open. A blink, which few frames of training show, would tear the hair.

        g_eyes(x, y) = w(x, y) g_upper(y),    k_eyes = openness - 0.7,    k_upper = (0.7, 0.7, brows, gaze).

    Each component k_j of the condition first displaces points in x and y by its own learned plane W_j:

        (x', y') = (x, y) + sum_p g_p(x, y) sum_{j in p} k_j W_j(x, y),    p in {lips, upper, eyes}.

    A small network alone would blend two mouth shapes; moving the points keeps the edges of lips and lids sharp.

    The displaced point is looked up in the feature planes and decoded by a network with one hidden layer:

        h = relu(A [P_xy(x', y'), P_xz(x', z), P_yz(y', z), g_lips k_lips, g_upper k_upper + g_eyes (k_eyes, 0)] + a)
        (s, f) = B h + b,    sigma = 40 softplus(s - 5).

    At the mouth, the features of MouthPlanes at (x, y), before the displacement, are inputs as well.

    The plane that faces the camera has two resolutions. The two planes that hold depth have a single, coarse one: footage shows a head from
    the front, and finer planes did not improve held-out frames (docs/fidelity.md).
    """

    nose: Tensor
    eyes: Tensor | None

    def __init__(
        self,
        config: FieldConfig,
        nose: float,
        soft: float,
        mouth: tuple[float, float, float, float] | None = None,
        eyes: tuple[float, float, float, float] | None = None,
    ):
        """Makes a fresh field.

        Args:
            config: resolutions and widths.
            nose: height y of the middle of the nose, box units.
            soft: softness of the gate there, box units.
            mouth: centre (x, y) and half sides (x, y) of the mouth's box, box units; None in older subjects, which have no MouthPlanes.
            eyes: the same of what the lids move; None in older subjects, whose lids act on all that is above the nose.
        """
        super().__init__()
        self.lip_code = config.lip_code
        # Attribute names are keys of saved weights.
        self.front = PlaneEncoding(1, config.planes, config.channels)  # P_xy
        self.sides = PlaneEncoding(2, (config.sides,), config.channels)  # P_xz, P_yz
        self.mouth = None
        if mouth is not None and config.mouth_planes:
            self.mouth = MouthPlanes(
                config.mouth_planes, config.mouth_resolution, config.channels, config.lip_code, mouth
            )
        condition = config.lip_code + UPPER_FACE
        width = self.front.width + self.sides.width + (self.mouth.width if self.mouth else 0)
        self.first = nn.Linear(width + condition, config.hidden)
        self.second = nn.Linear(config.hidden, 1 + config.ray_features)
        self.warp = nn.Parameter(
            torch.zeros(1, 2 * condition, WARP_RESOLUTION, WARP_RESOLUTION)
        )  # W: all x, then all y
        self.register_buffer("nose", torch.tensor([nose, soft]))
        # The box belongs to the geometry of the scene, and not to the weights.
        self.register_buffer("eyes", torch.tensor(eyes) if eyes else None, persistent=False)

    def forward(
        self,
        points: Float[Tensor, "points 3"],
        condition: Float[Tensor, "frames condition"],
        frame_index: Int[Tensor, " points"] | None = None,
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "features points"]]:
        """Evaluates the field.

        Args:
            points: in the coordinates of the head's box, [-1, 1]^3.
            condition: of each frame.
            frame_index: the frame that each point belongs to. None: there is one frame.

        Returns:
            Density (per half side of the box, >= 0), and features. Their channels come first, as the planes return them, which saves
            a transposition.
        """
        x, y, z = (axis.contiguous() for axis in points.unbind(-1))
        lower = torch.sigmoid((self.nose[0] - y) / self.nose[1])
        gates = [lower, 1 - lower]
        if self.eyes is not None:
            gates.append(window((x - self.eyes[0]) / self.eyes[2], (y - self.eyes[1]) / self.eyes[3]) * gates[1])
        groups = self._groups(condition)
        shift = (self._displacement(x, y, groups, frame_index) * torch.stack(gates)[:, None]).sum(0)
        mouth = [] if self.mouth is None else [self.mouth(x, y, groups[0], frame_index)]
        x, y = x + shift[0], y + shift[1]
        xy = torch.stack([x, y], -1)[None]
        xz_yz = torch.stack([torch.stack([x, z], -1), torch.stack([y, z], -1)])
        features = [*self.front(xy), *self.sides(xz_yz), *mouth]
        hidden = self._hidden(features, gates, groups, frame_index)
        density, features = torch.addmm(self.second.bias[:, None], self.second.weight, hidden).split(
            [1, len(self.second.bias) - 1]
        )
        return F.softplus(density[0] - DENSITY_SHIFT) * DENSITY_SCALE, features

    def add_roughness_gradient(self, weight: float) -> None:
        """Adds the gradient of weight * roughness of all feature planes."""
        for planes in (self.front, self.sides, self.mouth):
            if planes is not None:
                planes.add_roughness_gradient(weight)

    def _groups(self, condition: Float[Tensor, "frames condition"]) -> list[Float[Tensor, "frames _"]]:
        """Returns k_lips, k_upper and, if the eyes have a box, k_eyes."""
        lips, upper = condition.split([self.lip_code, UPPER_FACE], 1)
        if self.eyes is None:
            return [lips, upper]
        eyes, others = upper.split([EYES, UPPER_FACE - EYES], 1)
        return [lips, torch.cat([torch.full_like(eyes, USUAL_OPENNESS), others], 1), eyes - USUAL_OPENNESS]

    def _of_groups(self, values: Tensor, axis: int) -> list[Tensor]:
        """Returns the parts of values, one for each component of the condition, that belong to the groups of _groups."""
        parts = [values.narrow(axis, 0, self.lip_code), values.narrow(axis, self.lip_code, UPPER_FACE)]
        return parts if self.eyes is None else [*parts, values.narrow(axis, self.lip_code, EYES)]

    def _hidden(
        self,
        features: list[Float[Tensor, "_ points"]],
        gates: list[Float[Tensor, " points"]],
        groups: list[Float[Tensor, "frames _"]],
        frame_index: Int[Tensor, " points"] | None,
    ) -> Float[Tensor, "hidden points"]:
        """Returns h.

        A_l g k_l + A_u (1 - g) k_u = (A_l k_l - A_u k_u) g + A_u k_u: of each frame, the gate g and a 1 for its points replace the
        condition's numbers as inputs, with the eyes' gate as a third input. Of a single frame, the 1 belongs to the bias.
        """
        width = self.first.in_features - self.lip_code - UPPER_FACE
        of_planes, of_condition = self.first.weight.tensor_split([width], 1)
        lips, upper, *eyes = (
            weights @ numbers.T for weights, numbers in zip(self._of_groups(of_condition, 1), groups, strict=True)
        )
        lower, _, *around_eyes = gates
        bias = self.first.bias[:, None]
        if frame_index is None:
            weights, bias = [lips - upper, *eyes], bias + upper
            inputs = [gate[None] for gate in (lower, *around_eyes)]
        else:
            own = (frame_index == torch.arange(len(groups[0]), device=lower.device)[:, None]).to(lower.dtype)
            weights, inputs = [lips - upper, upper, *eyes], [own * lower, own, *(own * gate for gate in around_eyes)]
        return torch.addmm(bias, torch.cat([of_planes, *weights], 1), torch.cat([*features, *inputs])).relu_()

    def _displacement(
        self,
        x: Float[Tensor, " points"],
        y: Float[Tensor, " points"],
        groups: list[Float[Tensor, "frames _"]],
        frame_index: Int[Tensor, " points"] | None,
    ) -> Float[Tensor, "gates axes points"]:
        """Returns sum_j k_j W_j(x, y) of each group, before the gates.

        The planes W_j are summed once for each frame, before points are looked up, because a batch has many points but few frames. The
        sums are stacked vertically, so one look-up reads the points of all frames.
        """
        planes = self.warp.view(2, -1, WARP_RESOLUTION, WARP_RESOLUTION)
        sums = [
            torch.einsum("mn,anrc->amrc", numbers, plane)
            for numbers, plane in zip(groups, self._of_groups(planes, 1), strict=True)
        ]
        stacked = torch.cat(sums).view(1, 2 * len(groups), -1, WARP_RESOLUTION)
        # Points are clamped to half a texel inside the plane: further out, interpolation would read the next frame's plane.
        limit = 1 - 1 / WARP_RESOLUTION
        x, y = x.clamp(-limit, limit), y.clamp(-limit, limit)
        if frame_index is not None:
            y = (2 * frame_index + 1 + y) / len(groups[0]) - 1
        grid = torch.stack([x, y], -1)[None, None]
        return F.grid_sample(stacked, grid, padding_mode="border", align_corners=False).view(len(groups), 2, -1)


class ColorDecoder(nn.Module):
    """Colour of a ray from its summed features f and the viewing direction d: c = sigmoid(MLP(f, d)), once a ray.

    The direction is given in the head's frame. Camera and lights stand still, so it also tells how the head is turned to the lights.
    """

    HIDDEN = 32
    """Width of the hidden layer. The decoder runs once a ray, and costs less than one evaluation of the field."""

    def __init__(self, features: int):
        """Makes a fresh decoder for rays with `features` features (FieldConfig.ray_features)."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features + 3, self.HIDDEN), nn.ReLU(), nn.Linear(self.HIDDEN, 3))

    def forward(
        self, features: Float[Tensor, "rays features"], directions: Float[Tensor, "rays 3"]
    ) -> Float[Tensor, "rays 3"]:
        """Returns the colour, 0..1."""
        return torch.sigmoid(self.layers(torch.cat([features, directions], -1)))

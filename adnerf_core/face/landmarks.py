"""Which of MediaPipe's 478 face-mesh landmarks lie where. "Left" and "right" are the person's own.

The indices are those of MediaPipe's canonical face model.
"""

from __future__ import annotations

NUM_LANDMARKS = 478
"""Number of landmarks: 468 of the face and 10 of the irises."""

NOSE_TIP, NOSE_BRIDGE = 1, 6

FOREHEAD_TOP, CHIN = 10, 152
"""The upper and the lower end of the face in the middle; their distance is what is called the height of the face."""

EYE_CORNERS = (33, 263)
"""Outer corners of the right and the left eye; their distance is the unit of the head's frame."""

EAR_LOBES = (132, 361)
"""The right and the left ear lobe, where the jaw line ends."""

EYE_POINTS = (33, 133, 159, 145, 263, 362, 386, 374)
"""Both corners and the middle of both lids of the right, then of the left eye: what a box around the eyes must hold."""

BROW_POINTS = (70, 63, 105, 66, 107, 300, 293, 334, 296, 336)
"""The upper edges of the right, then of the left brow."""

RIGID_LANDMARKS = (
    # forehead, above what the brows move most
    10, 151, 109, 338, 67, 297, 103, 332, 54, 284, 108, 337, 69, 299, 104, 333, 68, 298,
    # temples
    21, 251, 71, 301, 162, 389, 127, 356, 139, 368, 34, 264, 234, 454,
    # bridge and back of the nose
    168, 6, 197, 195, 5, 4, 122, 351, 196, 419, 174, 399, 188, 412, 193, 417, 3, 248, 236, 456,
    # corners of the eyes
    33, 263, 133, 362, 130, 359,
    # upper cheeks
    116, 345, 117, 346, 118, 347, 119, 348, 111, 340, 227, 447,
)  # fmt: skip
"""Landmarks over bone, which keep their distances to each other whatever the face does: the head pose is found from these."""

JAW = (
    127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152,
    377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356,
)  # fmt: skip
"""Outline of the lower face, from the right ear over the chin to the left ear."""

RIGHT_EYE = ((33, 133), ((159, 145), (158, 153), (160, 144)))
LEFT_EYE = ((263, 362), ((386, 374), (385, 380), (387, 373)))
"""Each eye: its (outer, inner) corner, then three pairs (upper, lower) of points on the lids."""

IRISES = (468, 473)
"""Centres of the right and the left iris."""

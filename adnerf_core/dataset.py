"""SubjectDataset: what preprocess writes, and what train, render and evaluate read.

    dataset.json        the manifest, written last: its presence means that preprocessing is done (fields: Manifest)
    footage.json        the footage report (also written, with what is known by then, when footage is refused)
    frames/000000.jpg   the portrait, `size` x `size`, RGB, JPEG quality 95 without chroma subsampling
    masks/000000.png    what each pixel shows, 8 bit, soft edges: R = head (with hair), G = torso (neck, shoulders); rest background
    background.png      the clean plate, `size` x `size`
    audio.wav           16 kHz mono 16 bit, aligned: sample t belongs to the picture at t / 16000 s (the measured offset is corrected)
    features.npy        [steps, width] float32 audio features of audio.wav, 50 steps a second (step s covers the 20 ms from s / 50 s on)
    track.npz           per frame k, at time k / 25 s:
        valid           [frames] bool: a face was found and the pose is trusted; other frames have no JPEG, no mask and filled-in poses
        landmarks       [frames, 478, 3] float32: MediaPipe face-mesh points (x, y in px of the stored frame, z in px); NaN if not valid
        pose            [frames, 4, 4] float32 camera-to-world; the world is the head's own frame
        points          [rigid, 3] float32: the subject's rigid points, head frame; point_ids [rigid] int: their landmark indices
        depose          [frames, 478, 3] float32: landmarks with the pose taken out, in the head's frame (for lips and chin); NaN if not valid
        opening         [frames] float32: inner-lip opening in head units (NaN if not valid)
        eyes            [frames] float32: eye openness, 0 shut .. 1 wide (interpolated where not valid)

The head's frame: origin at the centre of the rigid points, x to the person's left (right in the picture), y up, z out of the
face towards a camera in front of it; unit: the distance between the outer corners of the eyes. The camera looks down its -z
with y up (OpenGL), so a frontal pose is close to the identity with a translation of (0, 0, distance).
"""

from __future__ import annotations

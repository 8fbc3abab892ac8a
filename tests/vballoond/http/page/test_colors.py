"""The colors of the frames' states, as people with each kind of color vision see them."""

import re
from itertools import combinations

import numpy as np
import pytest

from protocol.balloon.frame_states import FrameState
from vballoond.http.page import FILES

# How colors look with each kind of color vision: Machado, Oliveira and Fernandes 2009, severity 1, on linear light.
VISION = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(color: str, vision: str) -> np.ndarray:
    """A color as CIE 1976 L*a*b*, as it is seen."""
    coded = np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    x, y, z = XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / (0.9505, 1, 1.089)
    f = [part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def frame_colors(look: str) -> dict[str, str]:
    css = FILES["style.css"].body.decode()
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    found = re.findall(r"--frame-(\w+): (#\w{6});", light if look == "light" else dark)
    return {state: color for state, color in found if state != "absent"}


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("look", ["light", "dark"])
def test_states_of_frames_are_told_apart_with_any_kind_of_color_vision(look: str, vision: str) -> None:
    colors = frame_colors(look)
    assert colors.keys() == {state.name.lower() for state in FrameState if state is not FrameState.ABSENT} | {"guests"}
    # Guests' is for guests that tell no states, so it never stands beside those.
    colors.pop("guests")
    for (one, a), (other, b) in combinations(colors.items(), 2):
        difference = np.linalg.norm(lab(a, vision) - lab(b, vision))
        assert difference > 20, f"{one} and {other} differ by {difference:.1f}"

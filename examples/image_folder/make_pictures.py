"""Draws pictures, shapes/<class>/<number>.png: 40 of each of four shapes, each in a colour, size and place of its own."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 32
SHAPES = {"circle": 32, "triangle": 3, "square": 4, "hexagon": 6}  # and the sides of each


def picture(num_sides: int, generator: np.random.Generator) -> Image.Image:
    """Returns a polygon before a noisy background."""
    drawn = Image.fromarray(generator.integers(0, 160, (SIDE, SIDE, 3), dtype=np.uint8))
    radius, angle = generator.uniform(6, 12), generator.uniform(0, 360)
    place = generator.uniform(radius, SIDE - radius, 2)
    colour = tuple(generator.integers(96, 256, 3).tolist())
    ImageDraw.Draw(drawn).regular_polygon((*place, radius), num_sides, rotation=angle, fill=colour)
    return drawn


for number, (name, num_sides) in enumerate(SHAPES.items()):
    folder = Path("shapes") / name
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(number)
    for index in range(40):
        picture(num_sides, generator).save(folder / f"{index:03}.png")

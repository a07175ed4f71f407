"Birds that every network learns within seconds, on every machine: each label has a colour of its own."

import io

from PIL import Image

from birdsort.aviary.pencil import draw_bird

SPECIES = {'cacatua': 'cockatoo', 'garza': 'grey heron', 'buitre': 'griffon vulture'}
TINTS = {'cacatua': (230, 40, 40), 'garza': (40, 40, 230), 'buitre': (40, 200, 40)}


def tinted(label, seed):
    "A bird, seen through a coloured glass."
    image = draw_bird(SPECIES[label], seed).convert('RGB')
    return Image.blend(image, Image.new('RGB', image.size, TINTS[label]), 0.6)


def between(first, second, share, seed):
    "A bird whose colour lies between those of two labels; share 0 is the first label's colour, 1 the second's."
    return Image.blend(tinted(first, seed), tinted(second, seed), share)


def jpeg(image):
    "An image -> the bytes of a JPEG file."
    out = io.BytesIO()
    image.save(out, 'JPEG')
    return out.getvalue()

"Birds that every network learns within seconds, on every machine: each label has a colour of its own."

import io

from PIL import Image

from birdsort.aviary.pencil import draw_bird

SPECIES = {'cacatua': 'cockatoo', 'garza': 'grey heron', 'buitre': 'griffon vulture'}
TINTS = {'cacatua': (230, 40, 40), 'garza': (40, 40, 230), 'buitre': (40, 200, 40)}


def coloured(species, seed, colour):
    "A bird, seen through coloured glass."
    image = draw_bird(species, seed).convert('RGB')
    return Image.blend(image, Image.new('RGB', image.size, colour), 0.6)


def tinted(label, seed):
    "A bird in the colour of its label."
    return coloured(SPECIES[label], seed, TINTS[label])


def between(first, second, share, seed):
    "A bird whose colour lies between those of two labels; share 0 is the first label's colour, 1 the second's."
    colour = tuple(
        round((1 - share) * a + share * b) for a, b in zip(TINTS[first], TINTS[second], strict=True)
    )
    return coloured(SPECIES[first], seed, colour)


def jpeg(image):
    "An image -> the bytes of a JPEG file."
    out = io.BytesIO()
    image.save(out, 'JPEG')
    return out.getvalue()

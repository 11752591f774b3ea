"""Open image files of any origin: their size is checked before pixels are decoded."""

from pathlib import Path

from PIL import Image

MOST_PIXELS = 2**26  # 200 MB as RGB; the largest cameras have about as many
# What PIL raises of damaged files, and of large ones before our own limit is reached.
DAMAGE = (
    *(OSError, ValueError, SyntaxError),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def open_image(path: Path) -> Image.Image:
    """Open a JPEG or PNG file; the caller decodes and closes it.

    Raises:
        ValueError: it has more than MOST_PIXELS pixels.
        DAMAGE: it is no such file.
    """
    image = Image.open(path, formats=("JPEG", "PNG"))
    width, height = image.size
    if width * height > MOST_PIXELS:
        image.close()
        raise ValueError(f"{width} x {height} pixels; at most {MOST_PIXELS:,} are decoded")
    return image

"""Open untrusted image files: the size is checked before any pixel is decoded."""

from pathlib import Path

from PIL import Image

MOST_PIXELS = 2**26  # 200 MB as RGB; about the resolution of the largest cameras
# What PIL raises for damaged files, and for images above its own limit, which it checks first.
DAMAGE = (
    *(OSError, ValueError, SyntaxError),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def open_image(path: Path) -> Image.Image:
    """Open a JPEG or PNG file; the caller decodes and closes it.

    Raises:
        ValueError: the image has more than MOST_PIXELS pixels.
        DAMAGE: the file is damaged or of another format.
    """
    image = Image.open(path, formats=("JPEG", "PNG"))
    width, height = image.size
    if width * height > MOST_PIXELS:
        image.close()
        raise ValueError(f"{width} x {height} pixels; at most {MOST_PIXELS:,} are decoded")
    return image

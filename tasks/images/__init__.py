"""Tasks on images: classification, generation and their metrics; Yin-Yang."""

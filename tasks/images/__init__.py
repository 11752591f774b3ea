"""Tasks on images: classification, generation, their metrics; Yin-Yang; recorded events."""

"""Text: files and folders streamed from disk, tokenizers, and positions that are values."""

from drivers.text.files import (
    Part,
    Text,
    find_part,
    load,
    load_default,
    select_part,
    split_evenly,
    take_first,
)
from drivers.text.stream import (
    Position,
    Read,
    count_tokens,
    require_lossless,
    stream_tokens,
)
from drivers.text.tokenizer import Bytes, HuggingFace, Tokenizer
from drivers.text.world import World, load_world

__all__ = [
    "Bytes",
    "HuggingFace",
    "Part",
    "Position",
    "Read",
    "Text",
    "Tokenizer",
    "World",
    "count_tokens",
    "find_part",
    "load",
    "load_default",
    "load_world",
    "require_lossless",
    "select_part",
    "split_evenly",
    "stream_tokens",
    "take_first",
]

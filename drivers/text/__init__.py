"""Text: files and folders streamed from disk, tokenizers, and reading positions as values."""

from drivers.text.authors import Authors, make_authors
from drivers.text.corpora import Corpus, Document, read_folders, read_pile
from drivers.text.files import Text, load, load_default, split_evenly, take_first
from drivers.text.installed import Installed, read_installed
from drivers.text.parts import Part, find_part, measure_repeated, select_part
from drivers.text.pieces import CutCorpus, Pieces, cut_corpora, require_apart, split_pieces
from drivers.text.stream import (
    Position,
    Read,
    require_lossless,
    stream_tokens,
)
from drivers.text.tokenizer import Bytes, HuggingFace, Tokenizer
from drivers.text.world import WorldTokenizer, load_world

__all__ = [
    "Authors",
    "Bytes",
    "Corpus",
    "CutCorpus",
    "Document",
    "HuggingFace",
    "Installed",
    "Part",
    "Pieces",
    "Position",
    "Read",
    "Text",
    "Tokenizer",
    "WorldTokenizer",
    "cut_corpora",
    "find_part",
    "load",
    "load_default",
    "load_world",
    "make_authors",
    "measure_repeated",
    "read_folders",
    "read_installed",
    "read_pile",
    "require_apart",
    "require_lossless",
    "select_part",
    "split_evenly",
    "split_pieces",
    "stream_tokens",
    "take_first",
]

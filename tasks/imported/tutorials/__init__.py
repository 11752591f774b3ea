"""Networks of the tutorials and examples of other libraries, as their authors write them."""

"""Drivers: each reads an outside source and yields samples with named axes and units."""

"""Drivers: each reads one outside source and yields samples with named axes and units."""

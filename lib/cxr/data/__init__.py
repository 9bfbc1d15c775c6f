"""From any source of images to a catalog: sources, labels, ingest, catalog, duplicates, decoded pixels."""

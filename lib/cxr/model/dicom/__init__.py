"""DICOM files: from bytes to grey levels, by PS3.3 and PS3.5."""

"""Jobs with a container: EXECUTE JOB SERVICE and ML Jobs."""

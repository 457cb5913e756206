"""Errors caused by what a user gave; the command line prints them as one line."""


class NasJaxError(ValueError):
    """Base of every error that names a wrong input and its remedy."""


class ConfigError(NasJaxError):
    """A configuration value is unknown or not allowed."""


class DataError(NasJaxError):
    """A data source is missing, malformed or inconsistent."""


class MaskError(NasJaxError):
    """A search-space mask names unknown operations or leaves an edge empty."""


class GenotypeError(NasJaxError):
    """A genotype cannot be parsed or does not fit its search space."""


class WorkdirError(NasJaxError):
    """A working directory or one of its artefacts cannot be used."""


class CheckpointError(NasJaxError):
    """A checkpoint is missing, half written or of another shape."""

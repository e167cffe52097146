"""Errors a user can act on: each message says what was found, what was expected and the next step."""

from __future__ import annotations

__all__ = [
    "BoardError",
    "BundleError",
    "ConfigError",
    "DataError",
    "DataWarning",
    "EdgelnnError",
    "ExportError",
    "MissingExtraError",
    "ModelFileError",
    "ParityError",
    "ProfileError",
    "RunFolderError",
    "TrainingError",
    "TrainingInterrupted",
    "UnsupportedModelError",
    "WriteError",
]


class EdgelnnError(Exception):
    """Base of every error edgelnn raises on purpose."""


class ConfigError(EdgelnnError, ValueError):
    """An experiment, option or argument is not valid; the message names the field, the value and what is allowed."""


class DataError(EdgelnnError):
    """A dataset, image or array cannot be used."""


class DataWarning(UserWarning):
    """Data can be used, but the figures measured on them may not mean what they seem to."""


class RunFolderError(EdgelnnError):
    """A run folder is missing, incomplete or was written by a newer version."""


class BundleError(EdgelnnError):
    """A bundle folder is missing, incomplete or inconsistent with its manifest."""


class ModelFileError(EdgelnnError):
    """A model file cannot be loaded or run by the runtime asked for."""


class ExportError(EdgelnnError):
    """A trained model could not be exported."""


class UnsupportedModelError(ExportError):
    """The model holds something that the export does not know how to lower."""


class ParityError(ExportError):
    """An exported file does not give the answers of the model it came from; the file is not written."""


class ProfileError(EdgelnnError):
    """A measurement could not be made."""


class TrainingError(EdgelnnError):
    """A training cannot go on, such as when its loss is no number any more; what it has done so far is kept."""


class TrainingInterrupted(KeyboardInterrupt):
    """A training was interrupted; the message says how to continue it."""


class BoardError(EdgelnnError):
    """A board cannot be reached, or cannot do what is asked of it."""


class WriteError(EdgelnnError):
    """A file or folder cannot be written: no permission, no space, or something is there already."""


class MissingExtraError(EdgelnnError, ImportError):
    """An optional dependency is not installed; the message holds the command that installs it."""

    def __init__(self, needed_by: str, package: str, extra: str) -> None:
        super().__init__(f'{needed_by} needs {package}: pip install "edgelnn[{extra}]"')

"""What can be wrong with a request, as one tree.

OutdialError
├── InvalidError       the input breaks a rule; `details` names every field   (400)
├── NotFoundError      no such thing for this organization                     (404)
├── ConflictError      the state forbids it                                    (409)
├── StaleError         what the caller edited is not the newest version        (412)
└── ConfigurationError a setting or a store is not fit to run on               (stops the process)

Messages state the facts and the way out; phone numbers in them are masked.
"""

from dataclasses import dataclass


class OutdialError(Exception):
    """`message` says what is wrong, with the value; `way_out` what to do, or the field."""

    def __init__(self, message: str, way_out: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.way_out = way_out


@dataclass(frozen=True, slots=True)
class Detail:
    """One broken rule: the dotted path of the field and what it should be."""

    field: str
    message: str


class InvalidError(OutdialError):
    def __init__(self, message: str, way_out: str = "", details: tuple[Detail, ...] = ()) -> None:
        super().__init__(message, way_out)
        self.details = details


class NotFoundError(OutdialError):
    pass


class ConflictError(OutdialError):
    """`details` name what stands in the way, where it is more than one thing."""

    def __init__(self, message: str, way_out: str = "", details: tuple[Detail, ...] = ()) -> None:
        super().__init__(message, way_out)
        self.details = details


class StaleError(OutdialError):
    pass


class ConfigurationError(OutdialError):
    pass

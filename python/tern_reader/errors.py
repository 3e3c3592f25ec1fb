"""The one exception of this package."""


class TernError(Exception):
    """A file that cannot be read; `code` is one of FORMAT.md, section 13."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def invalid(message: str) -> TernError:
    return TernError("CONTAINER_INVALID", message)

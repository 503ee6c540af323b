"""Errors that a client is told, with the status codes of TensorFlow Serving."""

from http import HTTPStatus

import tensorflow as tf

# Where TensorFlow Serving's `ToHTTPStatusCode` sends errors of TensorFlow.
_STATUS_OF_CODE = {
    tf.errors.CANCELLED: 499,  # "client closed request", no IANA code
    tf.errors.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    tf.errors.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    tf.errors.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    tf.errors.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    tf.errors.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    tf.errors.NOT_FOUND: HTTPStatus.NOT_FOUND,
    tf.errors.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    tf.errors.ABORTED: HTTPStatus.CONFLICT,
    tf.errors.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    tf.errors.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    tf.errors.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    tf.errors.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
CLIENT_CLOSED_REQUEST = _STATUS_OF_CODE[tf.errors.CANCELLED]
_LONGEST_MESSAGE = 500  # characters


class ServingError(Exception):
    """A request that cannot be answered.

    Args:
        status: int. HTTP status code.
        message: str, for the client.
        retry_after: int or None. Seconds after which to try again.
    """

    def __init__(self, status, message, retry_after=None):
        super().__init__(message)
        self.status = int(status)
        self.message = message
        self.retry_after = retry_after


def bad_request(message):
    """Makes a `ServingError` of status 400; a long message is cut.

    >>> bad_request("x" * 900).message[-5:]
    'xx...'
    """
    return ServingError(HTTPStatus.BAD_REQUEST, _cut(message))


def from_tensorflow(error):
    """Makes a `ServingError` of an error that a SavedModel raised.

    >>> error = tf.errors.OutOfRangeError(None, None, "there is no row 7")
    >>> from_tensorflow(error).status
    400
    """
    status = _STATUS_OF_CODE.get(
        error.error_code, HTTPStatus.INTERNAL_SERVER_ERROR
    )
    return ServingError(status, _cut(error.message))


def _cut(message):
    if len(message) <= _LONGEST_MESSAGE:
        return message
    return message[: _LONGEST_MESSAGE - 3] + "..."
